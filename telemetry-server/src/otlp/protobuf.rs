//! Requests in protobuf. A message that can't be decoded is refused whole: protobuf has no way to
//! go on after a broken record.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::{Group, Refusal, weight};

fn decode<M: Message + Default>(body: &[u8]) -> Result<M, Refusal> {
    M::decode(body).map_err(|error| Refusal::Malformed(format!("the body is not OTLP protobuf: {error}")))
}

/// The groups of one resource: its scopes, each with the resource.
macro_rules! groups {
    ($resources:expr, $scopes:ident, $records:ident) => {{
        let mut groups = Vec::new();
        for resource in $resources {
            for scope in resource.$scopes {
                let resource = resource.resource.clone();
                groups.push(Group { resource, scope: scope.scope, records: scope.$records });
            }
        }
        Ok(groups)
    }};
}

pub(super) fn spans(body: &[u8], limit: usize) -> Result<Vec<Group<Span>>, Refusal> {
    weight::of_traces(body, limit)?;
    groups!(decode::<ExportTraceServiceRequest>(body)?.resource_spans, scope_spans, spans)
}

pub(super) fn metrics(body: &[u8], limit: usize) -> Result<Vec<Group<Metric>>, Refusal> {
    weight::of_metrics(body, limit)?;
    groups!(decode::<ExportMetricsServiceRequest>(body)?.resource_metrics, scope_metrics, metrics)
}

pub(super) fn logs(body: &[u8], limit: usize) -> Result<Vec<Group<LogRecord>>, Refusal> {
    weight::of_logs(body, limit)?;
    groups!(decode::<ExportLogsServiceRequest>(body)?.resource_logs, scope_logs, log_records)
}
