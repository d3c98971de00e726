//! Attribute values: scalars, with integers and floats kept apart.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Text;

/// The value of an attribute. The integer 7 and the float 7.0 are different values.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Text.
    String(Text),
    /// A 64-bit signed integer.
    Int(i64),
    /// A finite double. `From<f64>` converts NaN and infinities to text.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// The attribute is present but has no value.
    Null,
}

impl Value {
    /// Returns the length of a string value, and 0 for every other value.
    pub(crate) fn text_bytes(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            Self::Int(_) | Self::Float(_) | Self::Bool(_) | Self::Null => 0,
        }
    }

    /// Returns the text of a string value, and `None` for every other value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Int(_) | Self::Float(_) | Self::Bool(_) | Self::Null => None,
        }
    }

    /// Returns true if the value is null.
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// Writes the value as a metric label shows it: strings without quotes, null as the empty string.
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

/// Converts NaN and infinities to the text `NaN`, `Infinity` or `-Infinity`.
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

/// Converts numbers above `i64::MAX` to text, so that no digit is lost.
impl From<u64> for Value {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or_else(|_| Self::from(number.to_string()), Self::Int)
    }
}

/// Converts numbers above `i64::MAX` to text, so that no digit is lost.
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
            .map_err(|_| E::custom(format!("{number} does not fit a 64-bit signed integer")))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn non_finite_numbers_become_text() {
        assert_eq!(Value::from(f64::NAN), Value::from("NaN"));
        assert_eq!(Value::from(u64::MAX), Value::from("18446744073709551615"));
    }

    #[test]
    fn a_value_takes_24_bytes() {
        assert_eq!(size_of::<Value>(), 24);
    }
}
