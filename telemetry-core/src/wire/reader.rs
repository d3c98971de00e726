//! Reads the values of a JSON body, and reports problems with their place.

use serde_json::{Map, Value as Json};

use super::problem::{LocPart, Problem, Problems};
use crate::named_enum::NamedEnum;
use crate::{SpanId, Text, Timestamp, TraceId, Value};

/// A JSON object.
pub(super) type Object = Map<String, Json>;

/// Reads one place of a body. All problems go to one list.
///
/// A method that returns `None` has reported a problem.
pub(super) struct Reader<'p> {
    problems: &'p mut Problems,
    place: Vec<LocPart>,
}

impl<'p> Reader<'p> {
    /// Returns a reader of the whole body.
    pub(super) fn body(problems: &'p mut Problems) -> Self {
        Self { problems, place: vec![LocPart::Key("body".into())] }
    }

    /// Calls `read` with this reader at the place `key` of an object.
    pub(super) fn at<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.at_step(LocPart::Key(key.to_owned()), read)
    }

    /// Calls `read` with this reader at the place `index` of a list.
    pub(super) fn at_index<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        self.at_step(LocPart::Index(index), read)
    }

    fn at_step<T>(&mut self, step: LocPart, read: impl FnOnce(&mut Self) -> T) -> T {
        self.place.push(step);
        let value = read(self);
        self.place.pop();
        value
    }

    /// Reports a problem at this place.
    pub(super) fn fail<T>(&mut self, kind: &'static str, msg: impl Into<String>) -> Option<T> {
        self.problems.push(Problem { loc: self.place.clone(), msg: msg.into(), kind });
        None
    }

    /// Reads the value of a key that must be present.
    pub(super) fn required<'a, T>(
        &mut self,
        object: &'a Object,
        key: &str,
        read: impl FnOnce(&mut Self, &'a Json) -> Option<T>,
    ) -> Option<T> {
        self.at(key, |reader| match object.get(key) {
            Some(value) => read(reader, value),
            None => reader.fail("missing", "Field required"),
        })
    }

    /// Reads the value of a key; `Some(None)` if the key is absent or null.
    pub(super) fn optional<'a, T>(
        &mut self,
        object: &'a Object,
        key: &str,
        read: impl FnOnce(&mut Self, &'a Json) -> Option<T>,
    ) -> Option<Option<T>> {
        match object.get(key) {
            None | Some(Json::Null) => Some(None),
            Some(value) => self.at(key, |reader| read(reader, value)).map(Some),
        }
    }

    /// Reads the value of a key; `Some(None)` if the key is absent, null or the empty string.
    pub(super) fn optional_not_empty<'a, T>(
        &mut self,
        object: &'a Object,
        key: &str,
        read: impl FnOnce(&mut Self, &'a Json) -> Option<T>,
    ) -> Option<Option<T>> {
        match object.get(key) {
            Some(Json::String(text)) if text.is_empty() => Some(None),
            _ => self.optional(object, key, read),
        }
    }

    /// Reads a list item by item. Null is the empty list.
    pub(super) fn items<'a, T>(
        &mut self,
        value: &'a Json,
        read: impl Fn(&mut Self, &'a Json) -> Option<T>,
    ) -> Option<Vec<T>> {
        if value.is_null() {
            return Some(Vec::new());
        }
        let items = self.list(value)?.iter().enumerate();
        // Every item is read before the first failure counts, so that all problems are reported.
        let items: Vec<Option<T>> =
            items.map(|(index, item)| self.at_index(index, |reader| read(reader, item))).collect();
        items.into_iter().collect()
    }

    /// Reads a string into an owned text.
    pub(super) fn owned_text(&mut self, value: &Json) -> Option<Text> {
        self.text(value).map(|text| Text::Owned(text.to_owned()))
    }

    /// Reads an object.
    pub(super) fn object<'a>(&mut self, value: &'a Json) -> Option<&'a Object> {
        match value {
            Json::Object(object) => Some(object),
            _ => self.fail("dict_type", "Input should be a valid dictionary"),
        }
    }

    /// Reads a list.
    pub(super) fn list<'a>(&mut self, value: &'a Json) -> Option<&'a [Json]> {
        match value {
            Json::Array(items) => Some(items),
            _ => self.fail("list_type", "Input should be a valid list"),
        }
    }

    /// Reads a string.
    pub(super) fn text<'a>(&mut self, value: &'a Json) -> Option<&'a str> {
        match value {
            Json::String(text) => Some(text),
            _ => self.fail("string_type", "Input should be a valid string"),
        }
    }

    /// Reads a whole number, or a string that contains one.
    pub(super) fn integer(&mut self, value: &Json) -> Option<i128> {
        match value {
            Json::Number(number) => {
                let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
                let as_float = || number.as_f64().filter(|float| float.fract() == 0.0);
                #[expect(clippy::cast_possible_truncation, reason = "whole; huge numbers saturate")]
                match whole.or_else(|| as_float().map(|float| float as i128)) {
                    Some(number) => Some(number),
                    None => self.fail(
                        "int_from_float",
                        "Input should be a valid integer, got a number with a fractional part",
                    ),
                }
            }
            Json::String(text) => match text.trim().parse() {
                Ok(number) => Some(number),
                Err(_) => self.fail(
                    "int_parsing",
                    "Input should be a valid integer, unable to parse string as an integer",
                ),
            },
            _ => self.fail("int_type", "Input should be a valid integer"),
        }
    }

    /// Reads the name of an enum's variant.
    pub(super) fn variant<T: NamedEnum>(&mut self, value: &Json) -> Option<T> {
        let known = value.as_str().and_then(|text| T::NAMES.iter().find(|(_, name)| *name == text));
        match known {
            Some((variant, _)) => Some(*variant),
            None => self.fail("enum", format!("Input should be {}", alternatives::<T>())),
        }
    }

    /// Reads a string and parses it; the parser's error must name the value.
    pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&mut self, value: &Json) -> Option<T> {
        match self.text(value)?.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => self.fail("value_error", format!("Value error, {error}")),
        }
    }

    /// Reads a trace id.
    pub(super) fn trace_id(&mut self, value: &Json) -> Option<TraceId> {
        self.parsed(value)
    }

    /// Reads a span id.
    pub(super) fn span_id(&mut self, value: &Json) -> Option<SpanId> {
        self.parsed(value)
    }

    /// Reads a time in RFC 3339, or a number of seconds or milliseconds.
    pub(super) fn timestamp(&mut self, value: &Json) -> Option<Timestamp> {
        let read = match value {
            Json::String(text) => match text.trim().parse::<f64>() {
                // The reference reads numeric strings as numbers.
                Ok(number) => Timestamp::from_number(number),
                Err(_) => text.parse(),
            },
            Json::Number(number) => match number.as_i64() {
                Some(integer) => Timestamp::from_integer(integer),
                None => Timestamp::from_number(number.as_f64().unwrap_or(f64::NAN)),
            },
            _ => return self.fail("datetime_type", "Input should be a valid datetime"),
        };
        match read {
            Ok(time) => Some(time),
            Err(error) => self.fail("datetime_parsing", format!("Input should be a valid datetime, {error}")),
        }
    }

    /// Reads a scalar. Lists and objects are errors.
    pub(super) fn scalar(&mut self, value: &Json) -> Option<Value> {
        match value {
            Json::Null => Some(Value::Null),
            Json::Bool(flag) => Some(Value::Bool(*flag)),
            Json::String(text) => Some(Value::from(text.clone())),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Some(Value::Int(integer)),
                (None, _) if number.is_u64() => self.fail(
                    "int_overflow",
                    format!("Input should fit a 64-bit signed integer, found {number}"),
                ),
                (None, Some(float)) if float.is_finite() => Some(Value::Float(float)),
                (None, _) => self.fail("finite_number", "Input should be a finite number"),
            },
            Json::Array(_) | Json::Object(_) => self.fail(
                "scalar_type",
                "Input should be a string, a number, a boolean or null; lists and objects are not supported",
            ),
        }
    }
}

/// Lists the names of an enum: `'a', 'b' or 'c'`.
fn alternatives<T: NamedEnum>() -> String {
    let quoted: Vec<String> = T::NAMES.iter().map(|(_, name)| format!("'{name}'")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}
