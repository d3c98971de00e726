//! Converts ids, texts and attribute values to OpenTelemetry's types.

use opentelemetry::logs::AnyValue;
use opentelemetry::{InstrumentationScope, Key, KeyValue, SpanId, StringValue, TraceId};
use telemetry_core::{Attribute, Text, Value};

/// Returns the instrumentation scope of signals that name none.
pub(crate) fn own_scope() -> InstrumentationScope {
    InstrumentationScope::builder("telemetry").with_version(env!("CARGO_PKG_VERSION")).build()
}

pub(crate) fn trace_id(id: telemetry_core::TraceId) -> TraceId {
    TraceId::from(id.as_u128())
}

pub(crate) fn span_id(id: telemetry_core::SpanId) -> SpanId {
    SpanId::from(id.as_u64())
}

pub(crate) fn key(text: &Text) -> Key {
    match text {
        Text::Borrowed(text) => Key::from_static_str(text),
        Text::Owned(text) => Key::from(text.clone()),
    }
}

pub(crate) fn string(text: &Text) -> StringValue {
    match text {
        Text::Borrowed(text) => StringValue::from(*text),
        Text::Owned(text) => StringValue::from(text.clone()),
    }
}

/// Converts a value. OpenTelemetry's types have no null, so it becomes the empty string.
pub(crate) fn value(value: &Value) -> opentelemetry::Value {
    match value {
        Value::String(text) => opentelemetry::Value::String(string(text)),
        Value::Int(number) => opentelemetry::Value::I64(*number),
        Value::Float(number) => opentelemetry::Value::F64(*number),
        Value::Bool(flag) => opentelemetry::Value::Bool(*flag),
        Value::Null => opentelemetry::Value::String(StringValue::from("")),
    }
}

pub(crate) fn key_value((name, content): &Attribute) -> KeyValue {
    KeyValue::new(key(name), value(content))
}

/// Converts a value as [`value`] does, to the type that log records use.
pub(crate) fn any_value(value: &Value) -> AnyValue {
    match value {
        Value::String(text) => AnyValue::String(string(text)),
        Value::Int(number) => AnyValue::Int(*number),
        Value::Float(number) => AnyValue::Double(*number),
        Value::Bool(flag) => AnyValue::Boolean(*flag),
        Value::Null => AnyValue::String(StringValue::from("")),
    }
}
