//! Formats signals as JSON, one object per line.
//!
//! | `type` | members |
//! |---|---|
//! | `span_start` | the members of a span |
//! | `span_end` | the members of a span, `start_time`, `status` (`ok`, `error`, null), `duration_ms`; `unfinished: true` if the start or the end is missing |
//! | `log` | `severity`, `message` |
//! | `span_event` | `name` |
//! | `metric` | `metric`, `value`, `unit`; `kind` if the caller named one |
//!
//! Every object has `timestamp` (RFC 3339), `trace_id` and `span_id` (null without a trace or span) and
//! `attributes`; it has `service_name` unless that is the service of this process. A span has
//! `parent_span_id`, `name` and `kind`; it has `trace_state`, `dropped_attributes_count` and
//! `dropped_events_count` unless they are absent or zero. Attributes whose key begins with `__` are left
//! out. Nothing is cut.

use serde_json::{Map, Value, json};
use telemetry_core::{
    Attributes, EventContext, LogBody, LogRecord, MetricPoint, Signal, Span, SpanState, SpanStatus, Timestamp,
};

use crate::escape::{is_unsafe, shown};

/// Returns the object of a signal and a newline. Empty for a signal that is not shown.
///
/// ```
/// use telemetry_core::EventContext;
/// use telemetry_testkit::signals::log;
///
/// assert_eq!(
///     sink_console::json::to_json_line(&log(EventContext::None, 0, "two\nlines")),
///     concat!(
///         r#"{"type":"log","timestamp":"2026-03-01T12:00:00Z","trace_id":null,"span_id":null,"#,
///         r#""severity":"info","message":"two\nlines","attributes":{}}"#,
///         "\n"
///     )
/// );
/// ```
pub fn to_json_line(signal: &Signal) -> String {
    let object = match signal {
        Signal::SpanStarted(span) => started(span),
        Signal::SpanEnded(span) => ended(span),
        Signal::Log(log) => log_line(log),
        Signal::Metric(point) => metric(point),
        // `EndWaiting` is shown when its span is delivered. `Signal` is open to further kinds.
        _ => return String::new(),
    };
    let mut line = escaped(&Value::Object(object).to_string());
    line.push('\n');
    line
}

type Object = Map<String, Value>;

fn head(kind: &str, time: Timestamp, context: EventContext) -> Object {
    let mut object = Object::new();
    object.insert("type".into(), kind.into());
    object.insert("timestamp".into(), time.to_string().into());
    object.insert("trace_id".into(), context.trace_id().map(|id| id.to_string()).into());
    object.insert("span_id".into(), context.span_id().map(|id| id.to_string()).into());
    object
}

fn tail(object: &mut Object, service_name: Option<&str>, attributes: &Attributes) {
    if let Some(service) = service_name {
        object.insert("service_name".into(), service.into());
    }
    let shown: Object = shown(attributes).map(|(key, value)| (key.to_string(), json!(value))).collect();
    object.insert("attributes".into(), shown.into());
}

fn span_members(object: &mut Object, span: &Span) {
    object.insert("parent_span_id".into(), span.parent_span_id.map(|id| id.to_string()).into());
    object.insert("name".into(), (*span.name).into());
    object.insert("kind".into(), span.kind.as_str().into());
    if let Some(state) = &span.trace_state {
        object.insert("trace_state".into(), (**state).into());
    }
    let counts = [
        ("dropped_attributes_count", span.dropped_attributes_count),
        ("dropped_events_count", span.dropped_events_count),
    ];
    for (member, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        object.insert(member.into(), count.into());
    }
}

fn started(span: &Span) -> Object {
    let mut object = head("span_start", span.start_time, EventContext::Span(span.key()));
    span_members(&mut object, span);
    tail(&mut object, span.service_name.as_deref(), &span.attributes);
    object
}

fn ended(span: &Span) -> Object {
    let time = span.end_time.unwrap_or(span.arrived);
    let mut object = head("span_end", time, EventContext::Span(span.key()));
    span_members(&mut object, span);
    object.insert("start_time".into(), span.start_time.to_string().into());
    object.insert("status".into(), span.status.map(SpanStatus::as_str).into());
    object.insert("duration_ms".into(), span.duration_ms().into());
    if span.state == SpanState::Unfinished {
        object.insert("unfinished".into(), true.into());
    }
    tail(&mut object, span.service_name.as_deref(), &span.attributes);
    object
}

fn log_line(log: &LogRecord) -> Object {
    let mut object;
    match &log.body {
        LogBody::Message { severity, message } => {
            object = head("log", log.timestamp, log.context);
            object.insert("severity".into(), severity.as_str().into());
            object.insert("message".into(), (**message).into());
        }
        LogBody::SpanEvent { name } => {
            object = head("span_event", log.timestamp, log.context);
            object.insert("name".into(), (**name).into());
        }
    }
    tail(&mut object, log.service_name.as_deref(), &log.attributes);
    object
}

fn metric(point: &MetricPoint) -> Object {
    let mut object = head("metric", point.timestamp, point.context);
    object.insert("metric".into(), (*point.name).into());
    object.insert("value".into(), json!(point.value));
    object.insert("unit".into(), (*point.unit).into());
    if let Some(kind) = point.kind {
        object.insert("kind".into(), kind.as_str().into());
    }
    tail(&mut object, point.service_name.as_deref(), &point.attributes);
    object
}

/// Escapes characters that are valid in JSON but can control a terminal. They occur only inside strings.
fn escaped(json: &str) -> String {
    if !json.contains(is_unsafe) {
        return json.to_owned();
    }
    let escape = |c: char| if is_unsafe(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    json.chars().map(escape).collect()
}
