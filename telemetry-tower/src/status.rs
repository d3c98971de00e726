//! HTTP statuses of requests that have no ordinary answer, and of gRPC calls.

use telemetry_core::Text;

/// The client left before the answer was complete. nginx uses the same code.
pub(crate) const CANCELLED: u16 = 499;
/// The service returned an error or panicked, or the body failed.
pub(crate) const FAILED: u16 = 500;

/// Returns the HTTP status that corresponds to a gRPC status code, as google/rpc/code.proto lists them.
pub(crate) fn http_status_of_grpc(code: &str) -> u16 {
    match code {
        "0" => 200,
        "1" => CANCELLED,
        // Invalid argument, failed precondition, out of range.
        "3" | "9" | "11" => 400,
        "4" => 504,
        "5" => 404,
        // Already exists, aborted.
        "6" | "10" => 409,
        "7" => 403,
        "8" => 429,
        "12" => 501,
        "14" => 503,
        "16" => 401,
        // Unknown, internal, data loss, and codes that don't exist.
        _ => FAILED,
    }
}

/// Returns a status as a label. The common ones need no allocation.
pub(crate) fn status_label(status: u16) -> Text {
    Text::Borrowed(match status {
        200 => "200",
        201 => "201",
        204 => "204",
        400 => "400",
        404 => "404",
        429 => "429",
        499 => "499",
        500 => "500",
        503 => "503",
        other => return Text::Owned(other.to_string()),
    })
}
