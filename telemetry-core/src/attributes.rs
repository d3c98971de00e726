//! Attributes: key to value, in the order given.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Text;

/// An attribute's value. 7 and 7.0 stay different types.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Text.
    String(Text),
    /// A 64-bit signed integer.
    Int(i64),
    /// A double. Finite: `From<f64>` turns NaN and infinities into text.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// Present, without a value.
    Null,
}

/// One key with its value.
pub type Attribute = (Text, Value);

/// Key → value, in the order given, without duplicates where they came from the wire.
///
/// Attributes given together are one allocation of exactly their size.
///
/// ```
/// use telemetry_core::{Attributes, Value, attrs};
///
/// let attributes = attrs! { "model_id" => "llama", "tokens" => 42, "cached" => false };
/// assert_eq!(attributes.get("tokens"), Some(&Value::Int(42)));
/// assert_eq!(attributes.len(), 3);
/// assert_eq!(Attributes::default().len(), 0);
/// ```
#[derive(Clone, PartialEq, Default)]
pub struct Attributes(Box<[Attribute]>);

/// Builds [`Attributes`] from `key => value` pairs of mixed types, in one allocation.
#[macro_export]
macro_rules! attrs {
    () => { $crate::Attributes::default() };
    ($($key:expr => $value:expr),+ $(,)?) => {
        $crate::Attributes::from(::std::vec![$(($crate::Text::from($key), $crate::Value::from($value))),+])
    };
}

impl Attributes {
    /// The value of `key`: the first one where a key stands twice.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The number of attributes.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The attributes in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Attribute> {
        self.0.iter()
    }

    /// Adds the attributes of `later`; where both have a key, `later` wins and the place is kept.
    pub fn merge(&mut self, later: Self) {
        if later.is_empty() {
            return;
        }
        if self.is_empty() {
            *self = later;
            return;
        }
        let mut merged = std::mem::take(&mut self.0).into_vec();
        for (key, value) in later.0 {
            match merged.iter_mut().find(|(name, _)| *name == key) {
                Some(slot) => slot.1 = value,
                None => merged.push((key, value)),
            }
        }
        self.0 = merged.into_boxed_slice();
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.0.iter().position(|(name, _)| name == key)?;
        let mut rest = std::mem::take(&mut self.0).into_vec();
        let (_, value) = rest.remove(at);
        self.0 = rest.into_boxed_slice();
        Some(value)
    }

    /// Keeps the first `max` attributes and says how many were cut.
    pub fn truncate(&mut self, max: usize) -> usize {
        let cut = self.0.len().saturating_sub(max);
        if cut > 0 {
            let mut rest = std::mem::take(&mut self.0).into_vec();
            rest.truncate(max);
            self.0 = rest.into_boxed_slice();
        }
        cut
    }

    /// Bytes of owned and borrowed text, plus a fixed charge per attribute: what budgets count.
    pub fn payload_bytes(&self) -> usize {
        self.0.iter().map(|(key, value)| size_of::<Attribute>() + key.len() + value.text_bytes()).sum()
    }

    /// The attributes as compact JSON text, in their order.
    ///
    /// ```
    /// use telemetry_core::attrs;
    /// assert_eq!(attrs! { "n" => 7, "f" => 7.0 }.to_json(), r#"{"n":7,"f":7.0}"#);
    /// ```
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("keys are text and values are scalars")
    }
}

impl Value {
    fn text_bytes(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            Self::Int(_) | Self::Float(_) | Self::Bool(_) | Self::Null => 0,
        }
    }

    /// The text of a string value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Int(_) | Self::Float(_) | Self::Bool(_) | Self::Null => None,
        }
    }

    /// Whether the value is null.
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// The value as text, as a metric label shows it: strings without quotes, null as the empty string.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => f.write_str(text),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Null => Ok(()),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => write!(f, "{text:?}"),
            Self::Null => f.write_str("null"),
            Self::Int(_) | Self::Float(_) | Self::Bool(_) => write!(f, "{self}"),
        }
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(key, value)| (key, value))).finish()
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::String(Text::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(Text::Owned(text))
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

/// NaN and infinities become the text `NaN`, `Infinity` or `-Infinity`.
impl From<f64> for Value {
    fn from(number: f64) -> Self {
        if number.is_finite() {
            Self::Float(number)
        } else if number.is_nan() {
            Self::from("NaN")
        } else if number > 0.0 {
            Self::from("Infinity")
        } else {
            Self::from("-Infinity")
        }
    }
}

macro_rules! from_integers {
    ($($integer:ty),+) => {$(
        impl From<$integer> for Value {
            fn from(number: $integer) -> Self {
                Self::Int(i64::from(number))
            }
        }
    )+};
}

from_integers!(i8, i16, i32, i64, u8, u16, u32);

/// Numbers above `i64::MAX` become text, so that no digit is lost.
impl From<u64> for Value {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or_else(|_| Self::from(number.to_string()), Self::Int)
    }
}

/// Numbers above `i64::MAX` become text, so that no digit is lost.
impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<const N: usize> From<[Attribute; N]> for Attributes {
    fn from(attributes: [Attribute; N]) -> Self {
        Self(Box::new(attributes))
    }
}

impl From<Vec<Attribute>> for Attributes {
    fn from(attributes: Vec<Attribute>) -> Self {
        Self(attributes.into_boxed_slice())
    }
}

impl FromIterator<Attribute> for Attributes {
    fn from_iter<I: IntoIterator<Item = Attribute>>(attributes: I) -> Self {
        Self(attributes.into_iter().collect())
    }
}

impl IntoIterator for Attributes {
    type Item = Attribute;
    type IntoIter = std::vec::IntoIter<Attribute>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl<'a> IntoIterator for &'a Attributes {
    type Item = &'a Attribute;
    type IntoIter = std::slice::Iter<'a, Attribute>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::String(text) => serializer.serialize_str(text),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Null => serializer.serialize_unit(),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a 64-bit integer, a finite number, a boolean or null")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number)
            .map(Value::Int)
            .map_err(|_| E::custom(format!("{number} exceeds a 64-bit signed integer")))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        if number.is_finite() { Ok(Value::Float(number)) } else { Err(E::custom("not a finite number")) }
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, value) in self {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AttributesVisitor;

        impl<'de> Visitor<'de> for AttributesVisitor {
            type Value = Attributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of scalar values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
                let mut attributes = Vec::with_capacity(map.size_hint().unwrap_or(0).min(64));
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    attributes.push((Text::Owned(key), value));
                }
                Ok(attributes.into())
            }
        }

        deserializer.deserialize_map(AttributesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_attributes_win_in_place() {
        let mut attributes = attrs! { "a" => 1, "b" => 2 };
        attributes.merge(attrs! { "b" => "two", "c" => 3.0 });
        assert_eq!(attributes.to_json(), r#"{"a":1,"b":"two","c":3.0}"#);
        assert_eq!(attributes.remove("a"), Some(Value::Int(1)));
        assert_eq!(attributes.truncate(1), 1);
    }

    #[test]
    fn non_finite_numbers_become_text() {
        assert_eq!(Value::from(f64::NAN), Value::from("NaN"));
        assert_eq!(Value::from(u64::MAX), Value::from("18446744073709551615"));
    }

    #[test]
    fn json_keeps_types_and_order() {
        let json = r#"{"z":1,"a":1.0,"n":null,"s":"x","b":false}"#;
        let attributes: Attributes = serde_json::from_str(json).unwrap();
        assert_eq!(attributes.to_json(), json);
    }

    #[test]
    fn a_pair_takes_48_bytes() {
        assert_eq!(size_of::<Value>(), 24);
        assert_eq!(size_of::<Attribute>(), 48);
        assert_eq!(size_of::<Attributes>(), 16);
    }
}
