//! A place in a body, and how its value is read.

use serde_json::{Map, Value as Json};

use super::{LocPart, Problem, Problems};
use crate::{SpanId, Timestamp, TraceId, Value};

/// Where reading has come to; problems found there go to one list.
pub(super) struct Scope<'p> {
    problems: &'p mut Problems,
    loc: Vec<LocPart>,
}

impl<'p> Scope<'p> {
    /// The body itself.
    pub(super) fn body(problems: &'p mut Problems) -> Self {
        Self { problems, loc: vec![LocPart::Key("body".into())] }
    }

    /// Does something one step deeper.
    pub(super) fn at<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.loc.push(LocPart::Key(key.to_owned()));
        let value = read(self);
        self.loc.pop();
        value
    }

    /// Does something with an item of a list.
    pub(super) fn item<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        self.loc.push(LocPart::Index(index));
        let value = read(self);
        self.loc.pop();
        value
    }

    /// Reports a problem at this place.
    pub(super) fn fail<T>(&mut self, kind: &'static str, msg: impl Into<String>) -> Option<T> {
        self.problems.push(Problem { loc: self.loc.clone(), msg: msg.into(), kind });
        None
    }

    /// The value of a key that must be there.
    pub(super) fn required<'a>(&mut self, object: &'a Map<String, Json>, key: &str) -> Option<&'a Json> {
        match object.get(key) {
            Some(value) => Some(value),
            None => self.at(key, |scope| scope.fail("missing", "Field required")),
        }
    }

    pub(super) fn object<'a>(&mut self, value: &'a Json) -> Option<&'a Map<String, Json>> {
        match value {
            Json::Object(object) => Some(object),
            _ => self.fail("dict_type", "Input should be a valid dictionary"),
        }
    }

    pub(super) fn list<'a>(&mut self, value: &'a Json) -> Option<&'a [Json]> {
        match value {
            Json::Array(items) => Some(items),
            _ => self.fail("list_type", "Input should be a valid list"),
        }
    }

    pub(super) fn text<'a>(&mut self, value: &'a Json) -> Option<&'a str> {
        match value {
            Json::String(text) => Some(text),
            _ => self.fail("string_type", "Input should be a valid string"),
        }
    }

    /// A whole number; text that is one is taken as well.
    pub(super) fn integer(&mut self, value: &Json) -> Option<i128> {
        match value {
            Json::Number(number) => {
                let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
                let as_float = || number.as_f64().filter(|float| float.fract() == 0.0);
                #[expect(clippy::cast_possible_truncation, reason = "whole; what is huge saturates")]
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

    /// One of the words of an enum.
    pub(super) fn word<T: Copy>(&mut self, value: &Json, words: &[(T, &str)]) -> Option<T> {
        let known = value.as_str().and_then(|text| words.iter().find(|(_, word)| *word == text));
        match known {
            Some((meaning, _)) => Some(*meaning),
            None => {
                self.fail("enum", format!("Input should be {}", one_of(words.iter().map(|(_, word)| *word))))
            }
        }
    }

    /// Text that something is parsed from; the error names the value.
    pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&mut self, value: &Json) -> Option<T> {
        match self.text(value)?.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => self.fail("value_error", format!("Value error, {error}")),
        }
    }

    pub(super) fn trace_id(&mut self, value: &Json) -> Option<TraceId> {
        self.parsed(value)
    }

    pub(super) fn span_id(&mut self, value: &Json) -> Option<SpanId> {
        self.parsed(value)
    }

    /// RFC 3339, or a number of seconds or milliseconds.
    pub(super) fn timestamp(&mut self, value: &Json) -> Option<Timestamp> {
        let read = match value {
            Json::String(text) => match text.trim().parse::<f64>() {
                // Numeric strings are numbers.
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

    /// A scalar; lists and objects are refused.
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

/// `'a', 'b' or 'c'`.
pub(super) fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.map(|word| format!("'{word}'")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

/// The words of an enum made by the table of words.
macro_rules! words_of {
    ($enum:ty) => {
        &<$enum>::ALL.iter().map(|&word| (word, word.as_str())).collect::<Vec<_>>()
    };
}
pub(super) use words_of;
