//! From the bytes of a request to submissions.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use telemetry_core::{Submission, Timestamp};

use crate::expanded_size;
use crate::metrics::CumulativePoint;
use crate::records::{Group, Rejections};
use crate::request::{DecodeError, Encoding, OtlpSignal};
use crate::{json, logs, metrics, traces};

/// A decoded request.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Records to store as they are.
    pub submissions: Vec<Submission>,
    /// Points of cumulative streams, to pass to [`Streams`](crate::Streams). Empty except for metrics.
    pub cumulative: Vec<CumulativePoint>,
    /// Records that can't be stored.
    pub rejections: Rejections,
}

/// Groups the records of a protobuf message by resource and scope.
macro_rules! groups {
    ($resources:expr, $scopes:ident, $records:ident) => {{
        let mut groups = Vec::new();
        for resource in $resources {
            for scope in resource.$scopes {
                let resource = resource.resource.clone();
                groups.push(Group { resource, scope: scope.scope, records: scope.$records });
            }
        }
        groups
    }};
}

/// Decodes an uncompressed request that arrived at `now`.
///
/// `max_body_bytes` is the size of the largest body that the caller accepts. The decoded records may take
/// eight times as much memory.
///
/// # Errors
///
/// A [`DecodeError`] if the request as a whole can't be decoded. In JSON, a malformed record is only
/// rejected. Protobuf has no way to go on after a malformed record.
///
/// # Example
///
/// ```
/// use telemetry_core::Timestamp;
/// use telemetry_otlp::{DecodeError, Encoding, OtlpSignal, decode};
///
/// let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
/// let error = decode(OtlpSignal::Traces, Encoding::Json, b"[]", 16 << 20, now).unwrap_err();
/// assert_eq!(error, DecodeError::Malformed("the body is not a JSON object".to_owned()));
/// ```
pub fn decode(
    signal: OtlpSignal,
    encoding: Encoding,
    body: &[u8],
    max_body_bytes: usize,
    now: Timestamp,
) -> Result<Decoded, DecodeError> {
    expanded_size::check(signal, encoding, body, max_body_bytes)?;
    let mut decoded = Decoded::default();
    let rejections = &mut decoded.rejections;
    match signal {
        OtlpSignal::Traces => {
            let groups = match encoding {
                Encoding::Protobuf => {
                    groups!(message::<ExportTraceServiceRequest>(body)?.resource_spans, scope_spans, spans)
                }
                Encoding::Json => json::spans(body, rejections)?,
            };
            decoded.submissions = traces::convert(groups, now, rejections);
        }
        OtlpSignal::Metrics => {
            let groups = match encoding {
                Encoding::Protobuf => {
                    let request = message::<ExportMetricsServiceRequest>(body)?;
                    groups!(request.resource_metrics, scope_metrics, metrics)
                }
                Encoding::Json => json::metrics(body, rejections)?,
            };
            (decoded.submissions, decoded.cumulative) = metrics::convert(groups, now, rejections);
        }
        OtlpSignal::Logs => {
            let groups = match encoding {
                Encoding::Protobuf => {
                    groups!(message::<ExportLogsServiceRequest>(body)?.resource_logs, scope_logs, log_records)
                }
                Encoding::Json => json::logs(body, rejections)?,
            };
            decoded.submissions = logs::convert(groups, now, rejections);
        }
    }
    Ok(decoded)
}

/// Decodes a protobuf message.
fn message<M: Message + Default>(body: &[u8]) -> Result<M, DecodeError> {
    M::decode(body).map_err(|error| DecodeError::Malformed(format!("the body is not OTLP protobuf: {error}")))
}
