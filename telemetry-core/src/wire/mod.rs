//! The JSON forms of Llama Stack's telemetry API: events in, queries in, answers out.
//!
//! Reading reports every problem of a body at once, each with its place, in the shape of the
//! reference's validation errors (`{"loc": […], "msg": …, "type": …}`).
//!
//! ```
//! use telemetry_core::wire::{Problems, parse, read_event_body};
//!
//! let body = parse(br#"{"event": {"type": "metric", "metric": "", "value": "x", "unit": "s"}}"#)?;
//! let mut problems = Problems::default();
//! assert!(read_event_body(&body, &mut problems).is_none());
//! let places: Vec<String> = problems.iter().map(|problem| problem.place()).collect();
//! assert_eq!(places, ["body.event.metric.timestamp", "body.event.metric.metric", "body.event.metric.value"]);
//! # Ok::<(), telemetry_core::wire::Problem>(())
//! ```

mod answer;
mod event;
mod query;
mod scope;

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value as Json;

pub use answer::{
    log_json, metric_series_json, span_json, span_tree_json, span_with_events_json, trace_json,
};
pub use event::{EventBatch, RejectedEvent, read_event_batch, read_event_body};
pub use query::{
    ExportRequest, TreeRequest, read_export, read_log_query, read_metric_query, read_span_query,
    read_trace_query, read_tree_query,
};

/// A step on the way to a place in a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum LocPart {
    /// A key of an object, or the type an object was taken for.
    Key(String),
    /// An index of a list, or a byte of a text that is no JSON.
    Index(usize),
}

/// One thing wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {msg}", self.place())]
pub struct Problem {
    /// Where.
    pub loc: Vec<LocPart>,
    /// What.
    pub msg: String,
    /// Its kind, e.g. `missing` or `enum`; `type` on the wire.
    pub kind: &'static str,
}

impl Problem {
    /// The place with dots, for people.
    pub fn place(&self) -> String {
        let parts = self.loc.iter().map(|part| match part {
            LocPart::Key(key) => key.clone(),
            LocPart::Index(index) => index.to_string(),
        });
        parts.collect::<Vec<_>>().join(".")
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut problem = serializer.serialize_struct("Problem", 3)?;
        problem.serialize_field("loc", &self.loc)?;
        problem.serialize_field("msg", &self.msg)?;
        problem.serialize_field("type", self.kind)?;
        problem.end()
    }
}

/// Everything wrong with a body, in the order of reading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Whether nothing is wrong.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many things are wrong.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// The problems, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// Adds a problem.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// Parses a body. Nothing but white space is an empty object, as the reference has it. Of a key that
/// stands twice the last counts; nesting beyond 128 levels and numbers beyond a double are refused. An
/// integer above 64 bits is not made a float: it reads as the largest of them, which no attribute takes; one
/// below them is refused.
///
/// # Errors
///
/// A [`Problem`] of type `json_invalid` with the byte it stands at.
pub fn parse(body: &[u8]) -> Result<Json, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Json::Object(serde_json::Map::new()));
    }
    let bounded = bounded(body);
    serde_json::from_slice(&bounded).map_err(|error| {
        let line_start: usize = bounded
            .split_inclusive(|&byte| byte == b'\n')
            .take(error.line().saturating_sub(1))
            .map(<[u8]>::len)
            .sum();
        Problem {
            loc: vec![
                LocPart::Key("body".into()),
                LocPart::Index(line_start + error.column().saturating_sub(1)),
            ],
            msg: "JSON decode error".into(),
            kind: "json_invalid",
        }
    })
}

/// Stands for an integer above 64 bits.
const LARGEST: &[u8] = b"18446744073709551615";
/// Stands for an integer below 64 bits: what no double holds is refused.
const TOO_SMALL: &[u8] = b"-1e999";

/// The body, with something that readers refuse in the place of integers beyond 64 bits; `serde_json` would
/// make floats of them.
fn bounded(body: &[u8]) -> Cow<'_, [u8]> {
    let mut bounded: Option<Vec<u8>> = None;
    let (mut copied, mut at, mut in_text) = (0, 0, false);
    while let Some(&byte) = body.get(at) {
        match byte {
            b'\\' if in_text => at += 1,
            b'"' => in_text = !in_text,
            b'-' | b'0'..=b'9' if !in_text => {
                let rest = &body[at..];
                let is_of_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                let number = &rest[..rest.iter().position(|byte| !is_of_number(byte)).unwrap_or(rest.len())];
                if let Some(bound) = bound(number) {
                    let text = bounded.get_or_insert_default();
                    text.extend_from_slice(&body[copied..at]);
                    text.extend_from_slice(bound);
                    copied = at + number.len();
                }
                at += number.len() - 1;
            }
            _ => {}
        }
        at += 1;
    }
    match bounded {
        None => Cow::Borrowed(body),
        Some(mut text) => {
            text.extend_from_slice(&body[copied..]);
            Cow::Owned(text)
        }
    }
}

/// What stands for an integer that does not fit.
fn bound(number: &[u8]) -> Option<&'static [u8]> {
    let text = std::str::from_utf8(number).ok().filter(|text| text.len() >= 19)?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    let fits = text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
    (is_integer && !fits).then_some(if text.starts_with('-') { TOO_SMALL } else { LARGEST })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_beyond_64_bits_never_becomes_a_float() {
        let read = |text: &str| parse(text.as_bytes()).map(|json| json.to_string()).ok();
        for same in [
            "[-9223372036854775808,18446744073709551615,-0,7]",
            r#"{"99999999999999999999":"\\\"99999999999999999999"}"#,
            "1e22",
            "-1.5e+300",
            "12345678901234567890.5",
        ] {
            assert_eq!(read(same), Some(serde_json::from_str::<Json>(same).unwrap().to_string()), "{same}");
        }
        assert_eq!(
            read("[1, 18446744073709551616, 1e2,99999999999999999999999]").unwrap(),
            "[1,18446744073709551615,100.0,18446744073709551615]"
        );
        assert_eq!(read("-9223372036854775809"), None);
        assert_eq!(read("[00000000000000000000000]"), None, "no JSON at all");
    }
}
