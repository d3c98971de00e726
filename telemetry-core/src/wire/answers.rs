//! Writes answers in the reference's JSON shapes, with additional keys of our own.

use serde_json::{Map, Value as Json, json};

use crate::query::{MetricSeries, SpanTree};
use crate::{
    Attributes, EventContext, LogBody, LogRecord, MetricPoint, Span, SpanEvent, SpanKind, SpanState, Trace,
};

/// Returns a `Trace`.
pub fn trace_json(trace: &Trace) -> Json {
    json!(trace)
}

/// Returns a `Span`. Additional keys: `kind` unless it is `internal`, `service_name`, `unfinished`.
pub fn span_json(span: &Span, service_name: &str) -> Json {
    Json::Object(span_object(span, service_name, json!(span.attributes)))
}

/// Returns a `Span` with its `status` and `events`, the answer for a single span.
pub fn span_with_events_json(span: &Span, service_name: &str) -> Json {
    let mut object = span_object(span, service_name, json!(span.attributes));
    object.insert("status".into(), json!(span.status));
    object.insert("events".into(), span.events.iter().map(span_event_json).collect());
    Json::Object(object)
}

/// Returns `{span_id: SpanWithStatus}` in the tree's order, with the attributes `attributes_to_return` (null
/// where missing), or all attributes if that list is empty.
pub fn span_tree_json(tree: &SpanTree, attributes_to_return: &[String], service_name: &str) -> Json {
    let node = |span: &Span| {
        let attributes = if attributes_to_return.is_empty() {
            json!(span.attributes)
        } else {
            let values = span.attributes.get_all(attributes_to_return).into_iter().map(|value| json!(value));
            attributes_to_return.iter().cloned().zip(values).collect::<Map<_, _>>().into()
        };
        let mut object = span_object(span, service_name, attributes);
        object.insert("status".into(), json!(span.status));
        Json::Object(object)
    };
    tree.nodes.iter().map(|one| (one.span.span_id.to_string(), node(&one.span))).collect::<Map<_, _>>().into()
}

fn span_object(span: &Span, service_name: &str, attributes: Json) -> Map<String, Json> {
    let mut object = Map::new();
    object.insert("span_id".into(), json!(span.span_id));
    object.insert("trace_id".into(), json!(span.trace_id));
    object.insert("parent_span_id".into(), json!(span.parent_span_id));
    object.insert("name".into(), json!(span.name));
    object.insert("start_time".into(), json!(span.start_time));
    object.insert("end_time".into(), json!(span.end_time));
    object.insert("attributes".into(), attributes);
    if span.kind != SpanKind::Internal {
        object.insert("kind".into(), json!(span.kind));
    }
    let service = span.service_name.as_deref().unwrap_or(service_name);
    if !service.is_empty() {
        object.insert("service_name".into(), json!(service));
    }
    if span.state == SpanState::Unfinished {
        object.insert("unfinished".into(), Json::Bool(true));
    }
    object
}

fn span_event_json(event: &SpanEvent) -> Json {
    match event {
        SpanEvent::Log(log) => log_json(log),
        SpanEvent::Metric(point) => metric_json(point),
    }
}

fn event_object(
    kind: &str,
    context: EventContext,
    timestamp: crate::Timestamp,
    attributes: &Attributes,
) -> Map<String, Json> {
    let mut object = Map::new();
    object.insert("type".into(), json!(kind));
    object.insert("trace_id".into(), json!(context.trace_id()));
    object.insert("span_id".into(), json!(context.span_id()));
    object.insert("timestamp".into(), json!(timestamp));
    object.insert("attributes".into(), json!(attributes));
    object
}

/// Returns a log in the form of its event. A span event received by OTLP has the type `span_event` and a
/// `name`.
pub fn log_json(log: &LogRecord) -> Json {
    let object = |kind| event_object(kind, log.context, log.timestamp, &log.attributes);
    Json::Object(match &log.body {
        LogBody::Message { severity, message } => {
            let mut object = object("unstructured_log");
            object.insert("message".into(), json!(message));
            object.insert("severity".into(), json!(severity));
            object
        }
        LogBody::SpanEvent { name } => {
            let mut object = object("span_event");
            object.insert("name".into(), json!(name));
            object
        }
    })
}

fn metric_json(point: &MetricPoint) -> Json {
    let mut object = event_object("metric", point.context, point.timestamp, &point.attributes);
    object.insert("metric".into(), json!(point.name));
    object.insert("value".into(), json!(point.value));
    object.insert("unit".into(), json!(point.unit));
    Json::Object(object)
}

/// Returns a `MetricSeries`.
pub fn metric_series_json(series: &MetricSeries) -> Json {
    let label = |(name, value): &(String, String)| json!({"name": name, "value": value});
    let labels: Vec<Json> = series.labels.iter().map(label).collect();
    let point = |point: &crate::query::MetricPointValue| json!({"timestamp": point.timestamp, "value": point.value, "unit": series.unit});
    let values: Vec<Json> = series.values.iter().map(point).collect();
    json!({"metric": series.metric, "labels": labels, "values": values})
}
