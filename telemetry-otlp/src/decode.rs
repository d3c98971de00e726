//! From the bytes of a request to submissions.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use telemetry_core::{Submission, Timestamp};

use crate::attributes::CopyBudget;
use crate::expanded_size;
use crate::metrics::CumulativePoint;
use crate::records::{Rejections, ResourceRecords, ScopeRecords};
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
macro_rules! records {
    ($resources:expr, $scopes:ident, $records:ident) => {{
        let resources = $resources.into_iter().map(|resource| {
            let scopes = resource.$scopes.into_iter();
            let scopes = scopes.map(|scope| ScopeRecords { scope: scope.scope, records: scope.$records });
            ResourceRecords { resource: resource.resource, scopes: scopes.collect() }
        });
        resources.collect()
    }};
}

/// Decodes an uncompressed request that arrived at `now`.
///
/// `max_body_bytes` is the size of the largest body that the caller accepts. The decoded records may take
/// eight times as much memory, and the copies of attributes that they share eight times as much again.
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
    let budget = CopyBudget::new(expanded_size::max_memory(max_body_bytes));
    let mut decoded = Decoded::default();
    let rejections = &mut decoded.rejections;
    match signal {
        OtlpSignal::Traces => {
            let resources = match encoding {
                Encoding::Protobuf => {
                    records!(message::<ExportTraceServiceRequest>(body)?.resource_spans, scope_spans, spans)
                }
                Encoding::Json => json::spans(body, rejections)?,
            };
            decoded.submissions = traces::convert(resources, now, &budget, rejections);
        }
        OtlpSignal::Metrics => {
            let resources = match encoding {
                Encoding::Protobuf => {
                    let request = message::<ExportMetricsServiceRequest>(body)?;
                    records!(request.resource_metrics, scope_metrics, metrics)
                }
                Encoding::Json => json::metrics(body, rejections)?,
            };
            (decoded.submissions, decoded.cumulative) = metrics::convert(resources, now, &budget, rejections);
        }
        OtlpSignal::Logs => {
            let resources = match encoding {
                Encoding::Protobuf => {
                    records!(
                        message::<ExportLogsServiceRequest>(body)?.resource_logs,
                        scope_logs,
                        log_records
                    )
                }
                Encoding::Json => json::logs(body, rejections)?,
            };
            decoded.submissions = logs::convert(resources, now, &budget, rejections);
        }
    }
    Ok(decoded)
}

/// Decodes a protobuf message.
fn message<M: Message + Default>(body: &[u8]) -> Result<M, DecodeError> {
    M::decode(body).map_err(|error| DecodeError::Malformed(format!("the body is not OTLP protobuf: {error}")))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
    use opentelemetry_proto::tonic::metrics::v1::{
        Histogram, HistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics, metric,
    };
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use telemetry_core::RetainedBytes as _;

    use super::*;

    const MAX_BODY_BYTES: usize = 1 << 20;

    fn decode_all(signal: OtlpSignal, message: &impl Message) -> Decoded {
        let now = Timestamp::from_nanos(1);
        decode(signal, Encoding::Protobuf, &message.encode_to_vec(), MAX_BODY_BYTES, now).unwrap()
    }

    fn large_attribute() -> Vec<KeyValue> {
        let value = Some(any_value::Value::StringValue("x".repeat(MAX_BODY_BYTES / 4)));
        vec![KeyValue { key: "large".into(), value: Some(AnyValue { value }), ..KeyValue::default() }]
    }

    #[test]
    fn copies_of_a_large_resource_attribute_are_limited() {
        let span =
            Span { trace_id: vec![1; 16], span_id: vec![1; 8], start_time_unix_nano: 1, ..Span::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span; 1_000], ..ScopeSpans::default() }];
        let resource = Some(Resource { attributes: large_attribute(), ..Resource::default() });
        let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
        let decoded = decode_all(OtlpSignal::Traces, &ExportTraceServiceRequest { resource_spans });
        assert_eq!(decoded.rejections.count(), 969, "31 copies of 256 KiB fit into 8 MiB");
        let memory = decoded.submissions.retained_bytes();
        assert!(memory < 2 * expanded_size::max_memory(MAX_BODY_BYTES), "{memory}");
    }

    #[test]
    fn copies_of_a_large_attribute_to_the_buckets_of_a_histogram_are_limited() {
        let bounds: Vec<f64> = (0..1_000).map(f64::from).collect();
        let point = HistogramDataPoint {
            attributes: large_attribute(),
            bucket_counts: vec![1; bounds.len() + 1],
            explicit_bounds: bounds,
            ..HistogramDataPoint::default()
        };
        for aggregation_temporality in [1, 2] {
            let data_points = vec![point.clone()];
            let data = Some(metric::Data::Histogram(Histogram { data_points, aggregation_temporality }));
            let metrics = vec![Metric { name: "m".into(), data, ..Metric::default() }];
            let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
            let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
            let decoded = decode_all(OtlpSignal::Metrics, &ExportMetricsServiceRequest { resource_metrics });
            assert_eq!(decoded.rejections.count(), 1, "{:?}", decoded.rejections);
            assert!(decoded.submissions.is_empty() && decoded.cumulative.is_empty());
        }
    }
}
