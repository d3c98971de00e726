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
/// stands twice the last counts; nesting beyond 128 levels and numbers beyond a double are refused.
///
/// # Errors
///
/// A [`Problem`] of type `json_invalid` with the byte it stands at.
pub fn parse(body: &[u8]) -> Result<Json, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Json::Object(serde_json::Map::new()));
    }
    serde_json::from_slice(body).map_err(|error| {
        let line_start: usize = body
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
