//! Conversion of OTLP's attributes and values.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::Value as Json;
use telemetry_core::{Attribute, Attributes, Text, Value};

/// The service of a sender without a `service.name` (OpenTelemetry's semantic conventions).
const UNKNOWN_SERVICE: &str = "unknown_service";

/// The resource and scope that the records of a group share.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) service_name: Arc<str>,
    /// The attributes of the scope, then those of the resource.
    attributes: Vec<Attribute>,
}

impl Sender {
    pub(crate) fn new(resource: Option<Resource>, scope: Option<InstrumentationScope>) -> Self {
        let scope = scope.unwrap_or_default();
        let mut attributes = Vec::new();
        for (name, text) in [("otel.scope.name", scope.name), ("otel.scope.version", scope.version)] {
            if !text.is_empty() {
                attributes.push((Text::Borrowed(name), Value::from(text)));
            }
        }
        let named = scope.attributes.into_iter().filter(|pair| !pair.key.is_empty());
        attributes.extend(named.map(|pair| (format!("otel.scope.{}", pair.key).into(), value(pair.value))));
        let resource = resource.map(|resource| resource.attributes).unwrap_or_default();
        let named = resource.into_iter().filter(|pair| !pair.key.is_empty());
        attributes.extend(named.map(|pair| (pair.key.into(), value(pair.value))));
        let service = attributes.iter().find(|(key, _)| key == "service.name");
        let service = service.and_then(|(_, value)| value.as_str()).filter(|name| !name.is_empty());
        Self { service_name: service.unwrap_or(UNKNOWN_SERVICE).into(), attributes }
    }

    /// Joins a record's own attributes, `more`, and those of its scope and its resource. For a repeated key
    /// the first value counts, which is the one nearest to the record. Also returns how many of `own` had
    /// no key.
    pub(crate) fn attributes(&self, own: Vec<KeyValue>, more: Vec<Attribute>) -> (Attributes, u32) {
        let count = own.len();
        let own = own.into_iter().filter(|pair| !pair.key.is_empty());
        let mut all: Vec<Attribute> = Vec::with_capacity(count + more.len() + self.attributes.len());
        all.extend(own.map(|pair| (Text::from(pair.key), value(pair.value))));
        let unnamed = u32::try_from(count - all.len()).unwrap_or(u32::MAX);
        all.extend(more);
        all.extend(self.attributes.iter().cloned());
        (without_duplicates(all), unnamed)
    }
}

/// Converts the attributes of a part of a record: an event or a link.
pub(crate) fn attributes(own: Vec<KeyValue>) -> Attributes {
    let named = own.into_iter().filter(|pair| !pair.key.is_empty());
    without_duplicates(named.map(|pair| (Text::from(pair.key), value(pair.value))).collect())
}

/// Up to this many attributes are compared with each other. More are hashed.
const FEW: usize = 24;

/// Keeps the first attribute of each key.
fn without_duplicates(mut all: Vec<Attribute>) -> Attributes {
    if all.len() <= FEW {
        let mut kept = 0;
        for at in 0..all.len() {
            if all[..kept].iter().all(|(key, _)| *key != all[at].0) {
                all.swap(kept, at);
                kept += 1;
            }
        }
        all.truncate(kept);
        return all.into();
    }
    let mut seen = HashSet::with_capacity(all.len());
    all.into_iter().filter(|(key, _)| seen.insert(key.clone())).collect()
}

/// Converts a value. Lists and maps become JSON text, bytes become base64.
pub(crate) fn value(value: Option<AnyValue>) -> Value {
    match value.and_then(|any| any.value) {
        Some(any_value::Value::StringValue(text)) => text.into(),
        Some(any_value::Value::BoolValue(flag)) => flag.into(),
        Some(any_value::Value::IntValue(number)) => number.into(),
        Some(any_value::Value::DoubleValue(number)) => number.into(),
        Some(any_value::Value::BytesValue(bytes)) => STANDARD.encode(bytes).into(),
        Some(nested @ (any_value::Value::ArrayValue(_) | any_value::Value::KvlistValue(_))) => {
            json(Some(AnyValue { value: Some(nested) })).to_string().into()
        }
        // An index into a table that only profiles have.
        Some(any_value::Value::StringValueStrindex(_)) | None => Value::Null,
    }
}

/// Converts a value to JSON. NaN and infinities become text.
fn json(any: Option<AnyValue>) -> Json {
    match any.and_then(|any| any.value) {
        Some(any_value::Value::ArrayValue(list)) => {
            list.values.into_iter().map(|item| json(Some(item))).collect()
        }
        Some(any_value::Value::KvlistValue(map)) => {
            map.values.into_iter().map(|pair| (pair.key, json(pair.value))).collect()
        }
        scalar => match value(Some(AnyValue { value: scalar })) {
            Value::String(text) => Json::String(text.into_owned()),
            Value::Int(number) => number.into(),
            Value::Float(number) => number.into(),
            Value::Bool(flag) => flag.into(),
            Value::Null => Json::Null,
        },
    }
}

/// Converts a value to the text of a log line. Strings stay as they are, others become JSON.
pub(crate) fn text(any: Option<AnyValue>) -> String {
    match any.and_then(|any| any.value) {
        None => String::new(),
        Some(any_value::Value::StringValue(text)) => text,
        Some(other) => match json(Some(AnyValue { value: Some(other) })) {
            Json::String(text) => text,
            other => other.to_string(),
        },
    }
}

/// Formats the first 32 bytes as lower-case hexadecimal digits, for messages.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().take(32).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};

    fn any(value: any_value::Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn pair(key: &str, value: any_value::Value) -> KeyValue {
        KeyValue { key: key.into(), value: Some(any(value)), ..KeyValue::default() }
    }

    fn text_of(text: &str) -> any_value::Value {
        any_value::Value::StringValue(text.into())
    }

    #[test]
    fn lists_and_maps_become_json_text() {
        let list = ArrayValue { values: vec![any(text_of("a")), any(any_value::Value::IntValue(1))] };
        assert_eq!(value(Some(any(any_value::Value::ArrayValue(list)))), r#"["a",1]"#.into());
        let map = KeyValueList {
            values: vec![
                pair("nan", any_value::Value::DoubleValue(f64::NAN)),
                pair("bytes", any_value::Value::BytesValue(vec![0, 1, 2])),
                KeyValue { key: "empty".into(), ..KeyValue::default() },
            ],
        };
        let expected = r#"{"nan":"NaN","bytes":"AAEC","empty":null}"#;
        assert_eq!(value(Some(any(any_value::Value::KvlistValue(map)))), expected.into());
    }

    #[test]
    fn the_value_nearest_to_the_record_wins() {
        let resource = Resource {
            attributes: vec![pair("service.name", text_of("chat")), pair("host.name", text_of("h"))],
            ..Resource::default()
        };
        let scope = InstrumentationScope { name: "lib".into(), ..InstrumentationScope::default() };
        let sender = Sender::new(Some(resource), Some(scope));
        assert_eq!(sender.service_name.as_ref(), "chat");
        let own = vec![
            pair("host.name", text_of("mine")),
            pair("", text_of("lost")),
            pair("host.name", text_of("2")),
        ];
        let (attributes, unnamed) = sender.attributes(own, Vec::new());
        let expected = telemetry_core::attrs! {
            "host.name" => "mine", "otel.scope.name" => "lib", "service.name" => "chat",
        };
        assert_eq!((attributes, unnamed), (expected, 1));
    }

    #[test]
    fn repeated_keys_are_found_among_many_attributes() {
        let own: Vec<KeyValue> =
            (0..10_000).map(|n| pair(&(n % 100).to_string(), text_of(&n.to_string()))).collect();
        let attributes = attributes(own);
        assert_eq!(attributes.len(), 100);
        assert_eq!(attributes.get("99"), Some(&"99".into()));
    }
}
