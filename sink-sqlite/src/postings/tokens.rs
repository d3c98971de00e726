//! Tokens: a hash per key and value of a span. Tokens are stored, so the hash is part of the file format.

use telemetry_core::{Span, SpanId, Value};
use xxhash_rust::xxh3::Xxh3;

use super::block::{PORTIONS, SlotSet, portion_of};

/// The origin of a key: an attribute may have the name of a built-in key.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Source {
    Attribute = 0,
    BuiltIn = 1,
    SpanId = 2,
}

/// The tokens of the spans of a block.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    /// `hash48 << 16 | slot`.
    pub(super) values: Vec<u64>,
    /// Per number: the hash of its key, the number, the slot.
    pub(super) numbers: Vec<(u64, f32, u16)>,
    /// The latest start in each portion.
    pub(super) starts: [i64; PORTIONS],
}

impl Default for Tokens {
    fn default() -> Self {
        Self { values: Vec::new(), numbers: Vec::new(), starts: [i64::MIN; PORTIONS] }
    }
}

/// Returns the 48-bit hash of a key with a value. Equal numbers have the same hash, whatever their type.
pub(super) fn hash(source: Source, key: &str, value: &Value) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&[source as u8]);
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key.as_bytes());
    match value {
        Value::Null => hasher.update(&[0]),
        Value::Bool(flag) => hasher.update(&[1, u8::from(*flag)]),
        Value::Int(_) | Value::Float(_) => {
            // Adding 0.0 turns -0.0 into 0.0.
            let number = number(value).unwrap_or_default() + 0.0;
            hasher.update(&[2]);
            hasher.update(&number.to_bits().to_le_bytes());
        }
        Value::String(text) => {
            hasher.update(&[3]);
            hasher.update(text.as_bytes());
        }
    }
    hasher.digest() >> 16
}

/// Returns the hash of an attribute's key alone, for numbers.
pub(super) fn key_hash(key: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key.as_bytes())
}

/// Returns the hash of a built-in key alone, for numbers.
pub(super) fn number_hash(source: Source, key: &str) -> u64 {
    key_hash(key) ^ source as u64
}

/// Returns the hash of a span's own id.
pub(super) fn span_id_hash(id: SpanId) -> u64 {
    hash(Source::SpanId, "", &Value::Int(id.as_u64().cast_signed() >> 1)) ^ (id.as_u64() & 1)
}

/// Returns a number as a double. Integers beyond 2^53 are rounded, so different ones may share a hash.
#[expect(clippy::cast_precision_loss, reason = "equal numbers stay equal, and the row itself is checked")]
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::String(_) | Value::Bool(_) | Value::Null => None,
    }
}

/// Returns a double as it is stored: rounded. Comparisons include the bound itself to allow for that.
#[expect(clippy::cast_possible_truncation, reason = "rounding is intended")]
pub(super) const fn rounded(number: f64) -> f32 {
    number as f32
}

impl Tokens {
    /// Adds the tokens of a span. `own_service` is the service of spans that name none.
    pub(super) fn add(&mut self, span: &Span, own_service: &str, slot: u16) {
        let mut push = |hash: u64| self.values.push(hash << 16 | u64::from(slot));
        let text = |text: &str| Value::from(text.to_owned());
        push(span_id_hash(span.span_id));
        push(hash(Source::BuiltIn, "name", &text(&span.name)));
        push(hash(Source::BuiltIn, "kind", &Value::from(span.kind.as_str())));
        push(hash(
            Source::BuiltIn,
            "service_name",
            &text(span.service_name.as_deref().unwrap_or(own_service)),
        ));
        if let Some(status) = span.status {
            push(hash(Source::BuiltIn, "status", &Value::from(status.as_str())));
        }
        let mut push_number = |key, number| self.numbers.push((key, rounded(number), slot));
        if let Some(duration) = span.duration_ms() {
            push_number(number_hash(Source::BuiltIn, "duration_ms"), duration);
        }
        for (key, value) in &span.attributes {
            push(hash(Source::Attribute, key, value));
            if let Some(number) = number(value) {
                push_number(key_hash(key), number);
            }
        }
        let latest = &mut self.starts[portion_of(slot)];
        *latest = (*latest).max(span.start_time.as_nanos());
    }

    /// Adds the spans that have a hash to `slots`.
    pub(super) fn find(&self, hash: u64, slots: &mut SlotSet) {
        for token in self.values.iter().filter(|token| *token >> 16 == hash) {
            slots.insert(u16::try_from(token & 0xffff).unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_have_one_hash_and_texts_another() {
        let of = |value: Value| hash(Source::Attribute, "n", &value);
        assert_eq!(of(Value::Int(7)), of(Value::Float(7.0)));
        assert_eq!(of(Value::Float(0.0)), of(Value::Float(-0.0)));
        assert_ne!(of(Value::Int(7)), of(Value::from("7")));
        assert_ne!(of(Value::Int(1)), of(Value::Bool(true)));
        assert_ne!(of(Value::from("a")), hash(Source::BuiltIn, "n", &Value::from("a")));
    }

    /// A change here would make stored postings useless: it needs a new schema version.
    #[test]
    fn the_hash_is_part_of_the_file_format() {
        assert_eq!(hash(Source::Attribute, "session_id", &Value::from("s1")), 165_007_350_322_151);
        assert_eq!(hash(Source::Attribute, "n", &Value::Int(7)), 272_910_002_228_403);
        assert_eq!(span_id_hash(SpanId::from_u64(0xb7ad_6b71_6920_3331).unwrap()), 23_238_458_335_274);
    }
}
