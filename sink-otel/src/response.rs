//! Reads the collector's answer to a request: accepted, rejected, too large, or to be retried.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_sdk::error::OTelSdkResult;
use prost::Message as _;
use serde_json::Value as Json;
use telemetry_core::SinkError;

use crate::config::SignalKind;
use crate::http_client::{Answer, Client};

/// Longest `Retry-After` that is respected.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);
/// Characters of the collector's message that are kept.
const MAX_MESSAGE_CHARS: usize = 500;

/// What happened to one request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The collector accepted all items but `rejected` of them, which it never will.
    Accepted { rejected: u64, message: String },
    /// The request is too large for the collector. Its parts may be accepted.
    TooLarge(SinkError),
    /// The collector will never accept the request.
    Rejected(SinkError),
    /// The collector may accept the request later.
    RetryLater(SinkError),
}

/// The body of an error answer, which OTLP defines as a `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

impl Outcome {
    /// Awaits an export through `client` and reads the collector's answer.
    pub(crate) async fn of(client: &Client, export: impl Future<Output = OTelSdkResult> + Send) -> Self {
        // Drops the answer to an earlier export that was cancelled.
        client.take_answer();
        let result = export.await;
        match (client.take_answer(), result) {
            (Some(Answer::Response { status, headers, body }), _) if status.is_success() => {
                Self::of_success(client, &headers, &body)
            }
            (Some(Answer::Response { status, headers, body }), _) => {
                Self::of_error(client, status, &headers, &body)
            }
            (Some(Answer::Failed(error)), _) => {
                let message = if error.is_timeout() {
                    "the collector does not answer in time"
                } else {
                    "can't reach the collector"
                };
                Self::RetryLater(SinkError::retry(message).with("endpoint", &client.endpoint).source(error))
            }
            // Nothing was sent: the exporter failed before that.
            (None, Err(error)) => Self::TooLarge(
                SinkError::reject("can't build the request")
                    .with("endpoint", &client.endpoint)
                    .with("exporter", error),
            ),
            // There was nothing to send.
            (None, Ok(())) => Self::Accepted { rejected: 0, message: String::new() },
        }
    }

    fn of_success(client: &Client, headers: &HeaderMap, body: &Bytes) -> Self {
        match partial_success(client.signal, content_type(headers), body) {
            Some((rejected, message)) => Self::Accepted {
                rejected: u64::try_from(rejected).unwrap_or(0),
                message: client.mask_secrets(shortened(&message)),
            },
            None => Self::Rejected(
                SinkError::reject("the answer is not OTLP: is this the address of a collector?")
                    .with("endpoint", &client.endpoint),
            ),
        }
    }

    fn of_error(client: &Client, status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Self {
        let message = client.mask_secrets(shortened(&error_message(content_type(headers), body)));
        let with_context = |error: SinkError| {
            let error = error.with("endpoint", &client.endpoint).with("status", status.as_u16());
            if message.is_empty() { error } else { error.with("message", &message) }
        };
        let reason = match status.as_u16() {
            429 | 502 | 503 | 504 => {
                let error = with_context(SinkError::retry("the collector can't accept the request now"));
                return Self::RetryLater(match retry_after(headers) {
                    Some(wait) => error.after(wait),
                    None => error,
                });
            }
            413 => {
                let error = SinkError::reject("the request is too large for the collector");
                return Self::TooLarge(with_context(error));
            }
            404 | 405 => "this URL does not accept OTLP over HTTP: is this the address of a collector?",
            401 | 403 => "the collector does not accept the credentials: check the option `headers`",
            300..=399 => {
                "the collector redirects, and redirects are not followed: change the option `endpoint`"
            }
            _ => "the collector rejects the request",
        };
        Self::Rejected(with_context(SinkError::reject(reason)))
    }
}

/// Returns the number of rejected items and the message of a successful answer. Returns `None` if the
/// answer is not a collector's.
fn partial_success(signal: SignalKind, content_type: &str, body: &Bytes) -> Option<(i64, String)> {
    if body.is_empty() {
        return Some((0, String::new()));
    }
    match content_type {
        "application/json" => {
            let json: Json = serde_json::from_slice(body).ok()?;
            let partial = json.as_object()?.get("partialSuccess").unwrap_or(&Json::Null);
            let name = match signal {
                SignalKind::Traces => "rejectedSpans",
                SignalKind::Metrics => "rejectedDataPoints",
                SignalKind::Logs => "rejectedLogRecords",
            };
            // Protobuf's JSON form writes 64-bit numbers as text.
            let rejected = match &partial[name] {
                Json::String(digits) => digits.parse().ok()?,
                number => number.as_i64().unwrap_or(0),
            };
            Some((rejected, partial["errorMessage"].as_str().unwrap_or_default().to_owned()))
        }
        "application/x-protobuf" | "application/protobuf" | "" => {
            let partial = match signal {
                SignalKind::Traces => ExportTraceServiceResponse::decode(body.clone())
                    .ok()?
                    .partial_success
                    .map(|partial| (partial.rejected_spans, partial.error_message)),
                SignalKind::Metrics => ExportMetricsServiceResponse::decode(body.clone())
                    .ok()?
                    .partial_success
                    .map(|partial| (partial.rejected_data_points, partial.error_message)),
                SignalKind::Logs => ExportLogsServiceResponse::decode(body.clone())
                    .ok()?
                    .partial_success
                    .map(|partial| (partial.rejected_log_records, partial.error_message)),
            };
            Some(partial.unwrap_or_default())
        }
        // A web page, of another server or of a login page in front of the collector.
        "text/html" => None,
        // Some receivers answer with plain text such as `ok`.
        _ => Some((0, String::new())),
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    let whole = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    whole.split(';').next().unwrap_or_default().trim()
}

/// Returns the message in the body of an error answer.
fn error_message(content_type: &str, body: &Bytes) -> String {
    let status = match content_type {
        "application/x-protobuf" | "application/protobuf" => {
            RpcStatus::decode(body.clone()).ok().map(|status| status.message)
        }
        "application/json" => serde_json::from_slice::<Json>(body)
            .ok()
            .and_then(|json| json["message"].as_str().map(str::to_owned)),
        _ => None,
    };
    status.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned())
}

/// Cuts a text to [`MAX_MESSAGE_CHARS`] characters on one line, without control characters.
fn shortened(text: &str) -> String {
    let text = text.trim();
    let mut short: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_MESSAGE_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Parses `Retry-After`, which is a number of seconds or a date. Returns at most [`MAX_RETRY_AFTER`].
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            let wait = until.duration_since(jiff::Timestamp::now());
            Duration::try_from(wait).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn wait(value: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
        retry_after(&headers)
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("86400"), Some(MAX_RETRY_AFTER));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("Fri, 31 Dec 2100 23:59:59 GMT"), Some(MAX_RETRY_AFTER));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn numbers_in_json_answers_may_be_text() {
        let body = Bytes::from_static(br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#);
        assert_eq!(
            partial_success(SignalKind::Traces, "application/json", &body),
            Some((3, "no".to_owned()))
        );
        let empty = Bytes::from_static(b"{}");
        assert_eq!(partial_success(SignalKind::Logs, "application/json", &empty), Some((0, String::new())));
    }

    #[test]
    fn an_answer_that_is_not_otlp_is_not_a_success() {
        let garbage = Bytes::from_static(b"\xff\xff\xff\xff");
        for content_type in ["application/x-protobuf", "application/json", "text/html", ""] {
            assert_eq!(partial_success(SignalKind::Traces, content_type, &garbage), None, "{content_type}");
        }
    }

    #[test]
    fn a_message_is_cut_to_one_short_line() {
        assert_eq!(shortened(" a\nb "), "a b");
        assert_eq!(shortened(&"x".repeat(1_000)).chars().count(), MAX_MESSAGE_CHARS + 1);
    }
}
