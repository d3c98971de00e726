//! What a collector's answer means for the request.

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

use crate::client::{Answer, Client};
use crate::config::{Endpoint, SignalKind};

/// Longest wait a collector may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Characters of the collector's message that are kept.
const MAX_MESSAGE: usize = 500;

/// What became of one request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The collector has it, but for this many items that it refused for good.
    Accepted { refused: u64, message: String },
    /// It is too large for the collector: send it in parts.
    TooLarge(SinkError),
    /// It was refused for good.
    Refused(SinkError),
    /// It may be accepted later.
    Later(SinkError),
}

/// There was nothing to refuse.
pub(crate) const NOTHING_REFUSED: Verdict = Verdict::Accepted { refused: 0, message: String::new() };

/// How a refusal was worded: `google.rpc.Status`, as OTLP says.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Judges the answer that `client` kept of a request whose export ended with `result`.
pub(crate) fn judge(
    signal: SignalKind,
    endpoint: &Endpoint,
    client: &Client,
    result: &OTelSdkResult,
) -> Verdict {
    match (client.take_answer(), result) {
        (Some(Answer::Response { status, headers, body }), _) if status.is_success() => {
            accepted(signal, endpoint, client, &headers, &body)
        }
        (Some(Answer::Response { status, headers, body }), _) => {
            refused(endpoint, client, status, &headers, &body)
        }
        (Some(Answer::None(error)), _) => {
            let what = if error.is_timeout() {
                "the collector does not answer in time"
            } else {
                "can't reach the collector"
            };
            Verdict::Later(SinkError::retry(what).with("endpoint", endpoint).source(error))
        }
        // Nothing was sent: the exporter itself would not.
        (None, Err(error)) => Verdict::TooLarge(
            SinkError::reject("the request can't be made").with("endpoint", endpoint).with("exporter", error),
        ),
        (None, Ok(())) => NOTHING_REFUSED,
    }
}

fn accepted(
    signal: SignalKind,
    endpoint: &Endpoint,
    client: &Client,
    headers: &HeaderMap,
    body: &Bytes,
) -> Verdict {
    match partial_success(signal, content_type(headers), body) {
        Some((refused, message)) => {
            let message = client.without_secrets(shortened(&message));
            Verdict::Accepted { refused: u64::try_from(refused).unwrap_or(0), message }
        }
        None => Verdict::Refused(
            SinkError::reject("the answer is not OTLP: is this the address of a collector?")
                .with("endpoint", endpoint),
        ),
    }
}

/// The refused items and the message of a successful answer; `None` if it is no answer of a collector.
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
            // Protobuf's JSON writes 64-bit numbers as text.
            let refused = match &partial[name] {
                Json::String(digits) => digits.parse().ok()?,
                number => number.as_i64().unwrap_or(0),
            };
            Some((refused, partial["errorMessage"].as_str().unwrap_or_default().to_owned()))
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
        // A web page: some other server, or a login in between.
        "text/html" => None,
        // Some receivers say `ok`.
        _ => Some((0, String::new())),
    }
}

fn refused(
    endpoint: &Endpoint,
    client: &Client,
    status: StatusCode,
    headers: &HeaderMap,
    body: &Bytes,
) -> Verdict {
    let message = client.without_secrets(shortened(&refusal_text(content_type(headers), body)));
    let with_facts = |error: SinkError| {
        let error = error.with("endpoint", endpoint).with("status", status.as_u16());
        if message.is_empty() { error } else { error.with("message", &message) }
    };
    match status.as_u16() {
        429 | 502 | 503 | 504 => {
            let error = with_facts(SinkError::retry("the collector can't take it now"));
            Verdict::Later(match retry_after(headers) {
                Some(wait) => error.after(wait),
                None => error,
            })
        }
        413 => Verdict::TooLarge(with_facts(SinkError::reject("the request is too large for the collector"))),
        404 | 405 => Verdict::Refused(with_facts(SinkError::reject(
            "nothing takes OTLP over HTTP here: is this the address of a collector?",
        ))),
        401 | 403 => Verdict::Refused(with_facts(SinkError::reject(
            "the collector wants other credentials: see the option `headers`",
        ))),
        300..=399 => Verdict::Refused(with_facts(SinkError::reject(
            "the collector is elsewhere: redirects are not followed",
        ))),
        _ => Verdict::Refused(with_facts(SinkError::reject("the collector refuses the request"))),
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    let whole = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    whole.split(';').next().unwrap_or_default().trim()
}

fn refusal_text(content_type: &str, body: &Bytes) -> String {
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

/// One line of at most [`MAX_MESSAGE`] characters, without control characters.
fn shortened(text: &str) -> String {
    let text = text.trim();
    let mut short: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_MESSAGE).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The wait asked for, in seconds or as a date, cut to [`LONGEST_WAIT`].
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
    Some(wait.min(LONGEST_WAIT))
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
        assert_eq!(wait("86400"), Some(LONGEST_WAIT));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("Fri, 31 Dec 2100 23:59:59 GMT"), Some(LONGEST_WAIT));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn json_answers_carry_numbers_as_text() {
        let body = Bytes::from_static(br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#);
        assert_eq!(
            partial_success(SignalKind::Traces, "application/json", &body),
            Some((3, "no".to_owned()))
        );
        let empty = Bytes::from_static(b"{}");
        assert_eq!(partial_success(SignalKind::Logs, "application/json", &empty), Some((0, String::new())));
    }

    #[test]
    fn what_is_not_otlp_is_no_success() {
        let garbage = Bytes::from_static(b"\xff\xff\xff\xff");
        for content_type in ["application/x-protobuf", "application/json", "text/html", ""] {
            assert_eq!(partial_success(SignalKind::Traces, content_type, &garbage), None, "{content_type}");
        }
    }

    #[test]
    fn a_refusal_is_one_short_line() {
        assert_eq!(shortened(" a\nb "), "a b");
        assert_eq!(shortened(&"x".repeat(1_000)).chars().count(), MAX_MESSAGE + 1);
    }
}
