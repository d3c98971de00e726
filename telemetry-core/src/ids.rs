//! Trace and span ids, and what an event belongs to.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A trace id: 128 bits, never zero (W3C Trace Context, `trace-id`).
///
/// Parsed from 1–32 hexadecimal digits of any case (shorter texts are padded with zeros on the left),
/// or from a UUID with hyphens. Written as 32 lower-case digits.
///
/// ```
/// use telemetry_core::TraceId;
///
/// let id: TraceId = "ABC".parse()?;
/// assert_eq!(id.to_string(), "00000000000000000000000000000abc");
/// let uuid: TraceId = "0af76519-16cd-43dd-8448-eb211c80319c".parse()?;
/// assert_eq!(uuid.to_string(), "0af7651916cd43dd8448eb211c80319c");
/// assert!("0x1f".parse::<TraceId>().is_err());
/// # Ok::<(), telemetry_core::IdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(NonZeroU128);

/// A span id: 64 bits, never zero (W3C Trace Context, `parent-id`).
///
/// Parsed from 1–16 hexadecimal digits of any case, written as 16 lower-case digits. Unique only
/// within its trace: see [`SpanKey`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(NonZeroU64);

/// Identifies a span: its trace and its id within the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SpanKey {
    /// The trace.
    pub trace_id: TraceId,
    /// The span within the trace.
    pub span_id: SpanId,
}

impl SpanKey {
    /// Returns the key of the span `span_id` in the trace `trace_id`.
    pub const fn new(trace_id: TraceId, span_id: SpanId) -> Self {
        Self { trace_id, span_id }
    }
}

/// What a log or a metric belongs to. A span id without a trace id is not possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventContext {
    /// No trace.
    #[default]
    None,
    /// A trace, but none of its spans.
    Trace(TraceId),
    /// A span.
    Span(SpanKey),
}

impl EventContext {
    /// Returns the trace, if there is one.
    pub const fn trace_id(self) -> Option<TraceId> {
        match self {
            Self::None => None,
            Self::Trace(trace_id) => Some(trace_id),
            Self::Span(key) => Some(key.trace_id),
        }
    }

    /// Returns the span's id, if there is one.
    pub const fn span_id(self) -> Option<SpanId> {
        match self {
            Self::None | Self::Trace(_) => None,
            Self::Span(key) => Some(key.span_id),
        }
    }

    /// Returns the span's key, if there is a span.
    pub const fn span_key(self) -> Option<SpanKey> {
        match self {
            Self::None | Self::Trace(_) => None,
            Self::Span(key) => Some(key),
        }
    }
}

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text is empty.
    #[error("an id needs at least one hexadecimal digit")]
    Empty,
    /// The text has more digits than the id.
    #[error("`{value}` has more than {max} hexadecimal digits")]
    TooLong {
        /// The text, cut at 64 characters.
        value: String,
        /// 32 for a trace id, 16 for a span id.
        max: usize,
    },
    /// A character is not a hexadecimal digit.
    #[error("`{value}` is not hexadecimal")]
    NotHex {
        /// The text, cut at 64 characters.
        value: String,
    },
    /// All digits are zero, which W3C Trace Context forbids.
    #[error("an id must not be all zeros")]
    Zero,
}

impl TraceId {
    /// Returns the id with this value; `None` for zero.
    pub const fn from_u128(value: u128) -> Option<Self> {
        match NonZeroU128::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Returns the value, which is never zero.
    pub const fn as_u128(self) -> u128 {
        self.0.get()
    }

    /// Returns the 16 bytes in network order, as in OTLP.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }
}

impl SpanId {
    /// Returns the id with this value; `None` for zero.
    pub const fn from_u64(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Returns the value, which is never zero.
    pub const fn as_u64(self) -> u64 {
        self.0.get()
    }

    /// Returns the 8 bytes in network order, as in OTLP.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }
}

/// Parses 1–`max` hexadecimal digits. Stricter than `from_str_radix`, which accepts a sign.
fn parse_hex(text: &str, max: usize) -> Result<u128, IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    let excerpt = || text.chars().take(64).collect::<String>();
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(IdError::NotHex { value: excerpt() });
    }
    if text.len() > max {
        return Err(IdError::TooLong { value: excerpt(), max });
    }
    u128::from_str_radix(text, 16).map_err(|_| IdError::NotHex { value: excerpt() })
}

/// Returns the digits of a UUID in the form `8-4-4-4-12`; `None` for any other text.
fn strip_uuid_hyphens(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_uuid = bytes.len() == 36 && [8, 13, 18, 23].iter().all(|&at| bytes[at] == b'-');
    is_uuid.then(|| text.replace('-', "")).filter(|digits| digits.len() == 32)
}

impl FromStr for TraceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let value = match strip_uuid_hyphens(text) {
            Some(digits) => parse_hex(&digits, 32)?,
            None => parse_hex(text, 32)?,
        };
        Self::from_u128(value).ok_or(IdError::Zero)
    }
}

impl FromStr for SpanId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let value = parse_hex(text, 16)?;
        u64::try_from(value).ok().and_then(Self::from_u64).ok_or(IdError::Zero)
    }
}

macro_rules! text_form {
    ($id:ident, $width:literal) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:0", $width, "x}"), self.0)
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($id), "({})"), self)
            }
        }

        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_form!(TraceId, "32");
text_form!(SpanId, "16");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_are_padded_on_the_left() {
        assert_eq!("1A".parse::<SpanId>().unwrap().to_string(), "000000000000001a");
        assert_eq!("1234567890abcdef".parse::<TraceId>().unwrap().as_u128(), 0x1234_5678_90ab_cdef);
    }

    #[test]
    fn invalid_texts_are_errors() {
        for text in
            ["", "0x1f", "+1", "-1", "1_2", " 1", "1 ", "parent_span_id", "g", "0", "00000000000000000"]
        {
            assert!(text.parse::<SpanId>().is_err(), "{text:?}");
        }
        for text in ["0".repeat(32), "1".repeat(33), "0af7651916cd-43dd-8448-eb21-1c80319c".into()] {
            assert!(text.parse::<TraceId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_optional_id_takes_no_extra_byte() {
        assert_eq!(size_of::<Option<TraceId>>(), 16);
        assert_eq!(size_of::<Option<SpanId>>(), 8);
    }
}
