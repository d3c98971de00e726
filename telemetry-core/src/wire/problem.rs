//! What is wrong with a body, in the shape of the reference's validation errors.

use std::fmt;

use serde::{Serialize, Serializer};

/// One step of the path to a place in a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum LocPart {
    /// A key of an object, or the `type` by which an object was read.
    Key(String),
    /// An index of a list, or the offset of a byte if the body is not valid JSON.
    Index(usize),
}

/// One problem of a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {msg}", self.place())]
pub struct Problem {
    /// The path to the place.
    pub loc: Vec<LocPart>,
    /// What is wrong.
    pub msg: String,
    /// The kind of problem, for example `missing` or `enum`. Written as `type`.
    pub kind: &'static str,
}

impl Problem {
    /// Returns the path with dots between its steps.
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

/// All problems of a body, in the order of reading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Returns true if there are no problems.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of problems.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Iterates over the problems, in order.
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
