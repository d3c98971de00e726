//! Conversion of OTLP's attributes and values.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::Value as Json;
use telemetry_core::{Attribute, Attributes, RetainedBytes as _, Text, Value};

/// The service of a sender without a `service.name` (OpenTelemetry's semantic conventions).
const UNKNOWN_SERVICE: &str = "unknown_service";

/// Memory that the copies of shared attributes in one request may still take.
///
/// Each record has a copy of the attributes of its resource and scope, and each bucket of a histogram has one of
/// the attributes of its data point. Without a limit a small request could make gigabytes of copies.
#[derive(Debug)]
pub(crate) struct CopyBudget(Cell<usize>);

impl CopyBudget {
    pub(crate) const fn new(bytes: usize) -> Self {
        Self(Cell::new(bytes))
    }

    /// Subtracts the memory of copies. Fails if there is not enough left.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), String> {
        let left =
            self.0.get().checked_sub(bytes).ok_or(
                "the copies of shared attributes take too much memory; send fewer records per request",
            )?;
        self.0.set(left);
        Ok(())
    }
}

/// The attributes of a resource, which its scopes and records share.
#[derive(Debug)]
pub(crate) struct ResourceAttributes {
    service_name: Arc<str>,
    attributes: Attributes,
}

impl ResourceAttributes {
    pub(crate) fn new(resource: Option<Resource>) -> Self {
        let attributes: Attributes = named(resource.map(|resource| resource.attributes).unwrap_or_default());
        let service = attributes.iter().find(|(key, _)| key == "service.name");
        let service = service.and_then(|(_, value)| value.as_str()).filter(|name| !name.is_empty());
        Self { service_name: service.unwrap_or(UNKNOWN_SERVICE).into(), attributes }
    }
}

/// The resource and scope that the records of a group share.
#[derive(Debug)]
pub(crate) struct Sender<'a> {
    resource: &'a ResourceAttributes,
    scope: Attributes,
    /// Memory of one copy of the attributes of the resource and the scope.
    copy_bytes: usize,
    budget: &'a CopyBudget,
}

impl<'a> Sender<'a> {
    pub(crate) fn new(
        resource: &'a ResourceAttributes,
        scope: Option<InstrumentationScope>,
        budget: &'a CopyBudget,
    ) -> Self {
        let scope = scope.unwrap_or_default();
        let mut attributes = Vec::new();
        for (name, text) in [("otel.scope.name", scope.name), ("otel.scope.version", scope.version)] {
            if !text.is_empty() {
                attributes.push((Text::Borrowed(name), Value::from(text)));
            }
        }
        let own = scope.attributes.into_iter().filter(|pair| !pair.key.is_empty());
        attributes.extend(own.map(|pair| (format!("otel.scope.{}", pair.key).into(), value(pair.value))));
        let scope = Attributes::from(attributes);
        let copy_bytes = resource.attributes.retained_bytes() + scope.retained_bytes();
        Self { resource, scope, copy_bytes, budget }
    }

    /// Returns the name of the service.
    pub(crate) fn service_name(&self) -> &Arc<str> {
        &self.resource.service_name
    }

    /// Joins a record's own attributes, `more`, and those of its scope and its resource. For a repeated key
    /// the first value counts, which is the one nearest to the record. Also returns how many of `own` had
    /// no key. Fails if the copies of shared attributes take too much memory.
    pub(crate) fn attributes(
        &self,
        own: Vec<KeyValue>,
        more: Vec<Attribute>,
    ) -> Result<(Attributes, u32), String> {
        self.budget.take(self.copy_bytes)?;
        let count = own.len();
        let own = own.into_iter().filter(|pair| !pair.key.is_empty());
        let shared = self.scope.len() + self.resource.attributes.len();
        let mut all: Vec<Attribute> = Vec::with_capacity(count + more.len() + shared);
        all.extend(own.map(|pair| (Text::from(pair.key), value(pair.value))));
        let unnamed = u32::try_from(count - all.len()).unwrap_or(u32::MAX);
        all.extend(more);
        all.extend(self.scope.iter().chain(&self.resource.attributes).cloned());
        Ok((without_duplicates(all), unnamed))
    }

    /// Reserves memory for `copies` of the attributes of a series.
    pub(crate) fn reserve_copies(&self, attributes: &Attributes, copies: usize) -> Result<(), String> {
        self.budget.take(attributes.retained_bytes().saturating_mul(copies))
    }
}

/// Converts the attributes that have a key.
fn named<C: FromIterator<Attribute>>(attributes: Vec<KeyValue>) -> C {
    let named = attributes.into_iter().filter(|pair| !pair.key.is_empty());
    named.map(|pair| (Text::from(pair.key), value(pair.value))).collect()
}

/// Converts the attributes of a part of a record: an event or a link.
pub(crate) fn attributes(own: Vec<KeyValue>) -> Attributes {
    without_duplicates(named(own))
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
        let (resource, budget) = (ResourceAttributes::new(Some(resource)), CopyBudget::new(1_000));
        let sender = Sender::new(&resource, Some(scope), &budget);
        assert_eq!(sender.service_name().as_ref(), "chat");
        let own = vec![
            pair("host.name", text_of("mine")),
            pair("", text_of("no key")),
            pair("host.name", text_of("2")),
        ];
        let (attributes, unnamed) = sender.attributes(own, Vec::new()).unwrap();
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
