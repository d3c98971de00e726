//! Answers in the encoding of the request: OTLP's export responses, and `google.rpc.Status` for errors.

use prost::Message;
use serde_json::json;

use crate::records::Rejections;
use crate::request::{Encoding, OtlpSignal};

/// `ExportTraceServiceResponse`, `…Metrics…` and `…Logs…`: their fields differ in name only.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `google.rpc.Status`, without details.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Encodes the answer to a request whose records were stored, all but the rejected ones.
///
/// ```
/// use telemetry_otlp::{Encoding, OtlpSignal, Rejections, export_response};
///
/// let all_stored = Rejections::default();
/// assert_eq!(export_response(OtlpSignal::Traces, Encoding::Json, &all_stored), b"{}");
/// assert_eq!(export_response(OtlpSignal::Traces, Encoding::Protobuf, &all_stored), b"");
/// ```
pub fn export_response(signal: OtlpSignal, encoding: Encoding, rejections: &Rejections) -> Vec<u8> {
    let partial_success = (rejections.count() > 0).then(|| PartialSuccess {
        rejected: i64::try_from(rejections.count()).unwrap_or(i64::MAX),
        error_message: rejections.message(),
    });
    match (encoding, partial_success) {
        (Encoding::Protobuf, partial_success) => ExportResponse { partial_success }.encode_to_vec(),
        (Encoding::Json, None) => b"{}".to_vec(),
        (Encoding::Json, Some(PartialSuccess { rejected, error_message })) => {
            let count = match signal {
                OtlpSignal::Traces => "rejectedSpans",
                OtlpSignal::Metrics => "rejectedDataPoints",
                OtlpSignal::Logs => "rejectedLogRecords",
            };
            // Protobuf's JSON mapping writes 64-bit numbers as text.
            let json =
                json!({"partialSuccess": {count: rejected.to_string(), "errorMessage": error_message}});
            json.to_string().into_bytes()
        }
    }
}

/// Encodes the answer to a request that was not stored: a `google.rpc.Status` with a code of
/// `google.rpc.Code`.
///
/// ```
/// use telemetry_otlp::{Encoding, error_response};
///
/// let invalid_argument = 3;
/// let answer = error_response(Encoding::Json, invalid_argument, "the body is not JSON".to_owned());
/// assert_eq!(answer, br#"{"code":3,"message":"the body is not JSON"}"#);
/// ```
pub fn error_response(encoding: Encoding, code: i32, message: String) -> Vec<u8> {
    match encoding {
        Encoding::Protobuf => Status { code, message }.encode_to_vec(),
        Encoding::Json => json!({"code": code, "message": message}).to_string().into_bytes(),
    }
}
