//! Collects the fields of spans and events as attributes, in a buffer that each thread reuses.

use std::cell::Cell;
use std::fmt::{Debug, Write as _};

use telemetry_core::{Attribute, Attributes, Text, Value};
use tracing::field::{Field, Visit};

use crate::text_cache::text;

thread_local! {
    static BUFFER: Cell<Vec<Attribute>> = const { Cell::new(Vec::new()) };
}

/// A buffer with a larger capacity is not reused.
const MAX_REUSED: usize = 64;

/// Collects fields. [`Fields::into_attributes`] or dropping it returns the buffer to its thread.
#[derive(Debug)]
pub(crate) struct Fields {
    attributes: Vec<Attribute>,
    /// True if one of the fields is more than an attribute, such as `traceparent`.
    pub(crate) has_special: bool,
}

impl Fields {
    pub(crate) fn new() -> Self {
        // `take` leaves an empty buffer, so that a `Debug` implementation that logs works too.
        Self { attributes: BUFFER.take(), has_special: false }
    }

    /// Removes a field and returns its value.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        let index = self.attributes.iter().position(|(key, _)| key == name)?;
        Some(self.attributes.remove(index).1)
    }

    /// Returns the value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(crate) fn push(&mut self, name: impl Into<Text>, value: impl Into<Value>) {
        self.attributes.push((name.into(), value.into()));
    }

    pub(crate) fn rename(&mut self, name: &str, to: &'static str) {
        if let Some((key, _)) = self.attributes.iter_mut().find(|(key, _)| key == name) {
            *key = Text::Borrowed(to);
        }
    }

    pub(crate) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.attributes.retain(|(key, _)| wanted(key));
    }

    /// Formats the fields as `name=value`: the message of an event that has none.
    pub(crate) fn as_text(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.attributes {
            let space = if text.is_empty() { "" } else { " " };
            // Writing to a string can't fail.
            let _ = write!(text, "{space}{key}={value}");
        }
        text
    }

    /// Returns the attributes in one allocation of exactly their size, and the buffer to its thread.
    pub(crate) fn into_attributes(mut self) -> Attributes {
        self.attributes.drain(..).collect()
    }

    /// Removes and returns every field, for a span that has already started.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Attribute> + '_ {
        self.attributes.drain(..)
    }

    fn set(&mut self, field: &Field, value: Value) {
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        self.has_special |= name == "traceparent" || name == "metric" || name.starts_with("otel.");
        self.attributes.push((Text::Borrowed(name), value));
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        self.attributes.clear();
        if self.attributes.capacity() <= MAX_REUSED {
            BUFFER.set(std::mem::take(&mut self.attributes));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, Value::String(text(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::from(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        let fits = i64::try_from(value).map(Value::Int);
        self.set(field, fits.unwrap_or_else(|_| Value::from(value.to_string())));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        let fits = i64::try_from(value).map(Value::Int);
        self.set(field, fits.unwrap_or_else(|_| Value::from(value.to_string())));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::Bool(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        /// Sources shown at most. An error may be its own source.
        const MAX_SOURCES: usize = 16;
        let mut text = value.to_string();
        for source in std::iter::successors(value.source(), |error| error.source()).take(MAX_SOURCES) {
            let _ = write!(text, ": {source}");
        }
        self.set(field, Value::from(text));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field, Value::from(format!("{value:?}")));
    }
}
