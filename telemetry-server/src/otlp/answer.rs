//! Answers in the encoding of the request: OTLP's export responses, and `google.rpc.Status` for errors.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use prost::Message;
use serde_json::json;

use super::{Encoding, Rejections};
use crate::error::{ApiError, Detail};

/// `ExportTraceServiceResponse`, `…Metrics…` and `…Logs…` alike: their fields differ in name only.
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

/// The request was stored, all of it or all but some records. `name` is the field that counts those.
pub(crate) fn accepted(encoding: Encoding, name: &str, rejected: &Rejections) -> Response {
    let partial = (rejected.count() > 0).then(|| PartialSuccess {
        rejected: i64::try_from(rejected.count()).unwrap_or(i64::MAX),
        error_message: rejected.message(),
    });
    let body = match encoding {
        Encoding::Protobuf => ExportResponse { partial_success: partial }.encode_to_vec(),
        Encoding::Json => match partial {
            None => json!({}),
            Some(PartialSuccess { rejected, error_message }) => {
                // 64-bit numbers are texts in protobuf's JSON mapping.
                json!({"partialSuccess": {name: rejected.to_string(), "errorMessage": error_message}})
            }
        }
        .to_string()
        .into_bytes(),
    };
    with_body(StatusCode::OK, encoding, body)
}

/// The request was not stored.
pub(crate) fn refused(encoding: Encoding, error: ApiError) -> Response {
    in_kind(encoding, error.into_response())
}

/// An error of whatever layer in the encoding of the request; its headers, like Retry-After, are those
/// of any other route. Anything else is left as it is.
pub(crate) fn in_kind(encoding: Encoding, mut response: Response) -> Response {
    let Some(Detail(message)) = response.extensions_mut().remove::<Detail>() else { return response };
    let code = rpc_code(response.status());
    let body = match encoding {
        Encoding::Protobuf => Status { code, message }.encode_to_vec(),
        Encoding::Json => json!({"code": code, "message": message}).to_string().into_bytes(),
    };
    let (mut head, _) = response.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
    Response::from_parts(head, body.into())
}

fn with_body(status: StatusCode, encoding: Encoding, body: Vec<u8>) -> Response {
    let content_type = HeaderValue::from_static(encoding.content_type());
    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
}

/// The code of `google.rpc.Code` that an HTTP status stands for.
fn rpc_code(status: StatusCode) -> i32 {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => 8,
        StatusCode::SERVICE_UNAVAILABLE => 14,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => 12,
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::REQUEST_TIMEOUT => 4,
        status if status.is_client_error() => 3,
        _ => 13,
    }
}
