//! Converts received OTLP messages back to our signals.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord as OtlpLog;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span as OtlpSpan;
use telemetry_core::{
    Attributes, EventContext, LogBody, LogRecord, MetricPoint, MetricValue, Severity, Span, SpanId, SpanKey,
    SpanKind, SpanState, SpanStatus, Timestamp, TraceId, Value,
};
use telemetry_testkit::{SERVICE_NAME, signals};

use crate::support::Receiver;

/// Returns every span in the order of arrival.
pub(crate) fn spans(receiver: &Receiver) -> Vec<Span> {
    let mut all = Vec::new();
    for resource in receiver.traces().into_iter().flat_map(|request| request.resource_spans) {
        let service = service(resource.resource.as_ref());
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        all.extend(spans.map(|found| Span { service_name: service.clone(), ..span(&found) }));
    }
    all
}

/// Returns every log in the order of arrival.
pub(crate) fn logs(receiver: &Receiver) -> Vec<LogRecord> {
    let mut all = Vec::new();
    for resource in receiver.logs().into_iter().flat_map(|request| request.resource_logs) {
        let service = service(resource.resource.as_ref());
        let logs = resource.scope_logs.into_iter().flat_map(|scope| scope.log_records);
        all.extend(logs.map(|found| LogRecord { service_name: service.clone(), ..log(&found) }));
    }
    all
}

/// Returns the series of the latest export as metric points with their values.
pub(crate) fn series(receiver: &Receiver) -> Vec<MetricPoint> {
    let mut all = Vec::new();
    for metric in receiver.latest_metrics() {
        let points = match metric.data.unwrap() {
            Data::Sum(sum) => sum.data_points,
            Data::Gauge(gauge) => gauge.data_points,
            other => panic!("unexpected {other:?}"),
        };
        all.extend(points.into_iter().map(|point| {
            let Some(Number::AsDouble(number)) = point.value else { panic!("not a double: {point:?}") };
            let value = MetricValue::Float(number);
            let point = signals::metric_point(metric.name.clone(), value, 0, attributes(&point.attributes));
            MetricPoint { unit: metric.unit.clone().into(), ..point }
        }));
    }
    all
}

fn span(found: &OtlpSpan) -> Span {
    let key = SpanKey::new(trace_id(&found.trace_id).unwrap(), span_id(&found.span_id).unwrap());
    Span {
        parent_span_id: span_id(&found.parent_span_id),
        kind: match found.kind {
            1 => SpanKind::Internal,
            2 => SpanKind::Server,
            3 => SpanKind::Client,
            4 => SpanKind::Producer,
            5 => SpanKind::Consumer,
            other => panic!("kind {other}"),
        },
        end_time: Some(time(found.end_time_unix_nano)),
        status: match found.status.as_ref().map(|status| status.code) {
            Some(1) => Some(SpanStatus::Ok),
            Some(2) => Some(SpanStatus::Error),
            _ => None,
        },
        attributes: attributes(&found.attributes),
        state: SpanState::Ended,
        ..Span::open(key, found.name.clone(), time(found.start_time_unix_nano))
    }
}

fn log(found: &OtlpLog) -> LogRecord {
    let context = match (trace_id(&found.trace_id), span_id(&found.span_id)) {
        (Some(trace_id), Some(span_id)) => EventContext::Span(SpanKey::new(trace_id, span_id)),
        (Some(trace_id), None) => EventContext::Trace(trace_id),
        (None, _) => EventContext::None,
    };
    let severity = match found.severity_number {
        1 => Severity::Verbose,
        5 => Severity::Debug,
        9 => Severity::Info,
        13 => Severity::Warn,
        17 => Severity::Error,
        21 => Severity::Critical,
        other => panic!("severity {other}"),
    };
    let Some(Any::StringValue(message)) = found.body.clone().and_then(|body| body.value) else {
        panic!("not a text: {:?}", found.body)
    };
    LogRecord {
        timestamp: time(found.time_unix_nano),
        body: LogBody::Message { severity, message: message.into() },
        attributes: attributes(&found.attributes),
        ..signals::log_record(context, 0, "")
    }
}

fn service(resource: Option<&Resource>) -> Option<std::sync::Arc<str>> {
    let attributes = attributes(&resource.unwrap().attributes);
    let name = attributes.get("service.name").unwrap().to_string();
    (name != SERVICE_NAME).then(|| name.into())
}

fn attributes(pairs: &[KeyValue]) -> Attributes {
    let value = |value: &Option<AnyValue>| match value.clone().and_then(|value| value.value) {
        Some(Any::StringValue(text)) => Value::from(text),
        Some(Any::BoolValue(flag)) => Value::from(flag),
        Some(Any::IntValue(number)) => Value::from(number),
        Some(Any::DoubleValue(number)) => Value::from(number),
        other => panic!("not a scalar: {other:?}"),
    };
    pairs.iter().map(|pair| (pair.key.clone().into(), value(&pair.value))).collect()
}

fn time(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(i64::try_from(nanos).unwrap())
}

fn trace_id(bytes: &[u8]) -> Option<TraceId> {
    TraceId::from_u128(u128::from_be_bytes(bytes.try_into().ok()?))
}

fn span_id(bytes: &[u8]) -> Option<SpanId> {
    SpanId::from_u64(u64::from_be_bytes(bytes.try_into().ok()?))
}
