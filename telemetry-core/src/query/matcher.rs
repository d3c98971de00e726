//! Label matchers with the meaning of Prometheus.

use regex::Regex;

use crate::Attributes;
use crate::named_enum::named_enum;

named_enum! {
    /// How a label is compared.
    MatcherOp {
        /// Equal.
        Equal = "=",
        /// Not equal.
        NotEqual = "!=",
        /// The whole label matches a regular expression.
        Match = "=~",
        /// The whole label does not match a regular expression.
        NotMatch = "!~",
    }
}

/// One condition on the labels of a series. A missing label is the empty string. Values compare as text.
///
/// ```
/// use telemetry_core::query::{LabelMatcher, MatcherOp};
///
/// let matcher = LabelMatcher::new("model_id", MatcherOp::Match, "llama|qwen.*")?;
/// assert!(matcher.matches_text("qwen-3"));
/// assert!(!matcher.matches_text("my-llama"), "anchored at both ends");
/// # Ok::<(), telemetry_core::query::MatcherError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LabelMatcher {
    name: String,
    op: MatcherOp,
    value: String,
    regex: Option<Regex>,
}

/// A regular expression that is invalid or too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid regular expression: {message}")]
pub struct MatcherError {
    /// What is wrong, and at which position.
    pub message: String,
}

/// The largest length of a pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1_024;
/// The largest number of matchers in a query.
pub const MAX_MATCHERS: usize = 64;
/// The largest size of a compiled pattern. Matching takes linear time, but compiling `\w{500}` takes long and its result
/// takes much memory.
const REGEX_BYTES: usize = 256 << 10;

impl LabelMatcher {
    /// Returns a matcher. Regular expressions have RE2's syntax and must match the whole label.
    ///
    /// # Errors
    ///
    /// Returns a [`MatcherError`] for a regular expression that is invalid or too large.
    pub fn new(
        name: impl Into<String>,
        op: MatcherOp,
        value: impl Into<String>,
    ) -> Result<Self, MatcherError> {
        let value = value.into();
        let regex = match op {
            MatcherOp::Equal | MatcherOp::NotEqual => None,
            MatcherOp::Match | MatcherOp::NotMatch => Some(compile(&value)?),
        };
        Ok(Self { name: name.into(), op, value, regex })
    }

    /// Returns true if a series with these labels matches.
    pub fn matches(&self, labels: &Attributes) -> bool {
        self.matches_text(&labels.get(&self.name).map(ToString::to_string).unwrap_or_default())
    }

    /// Returns true if a label with this text matches.
    pub fn matches_text(&self, text: &str) -> bool {
        let is_match = || self.regex.as_ref().is_some_and(|regex| regex.is_match(text));
        match self.op {
            MatcherOp::Equal => text == self.value,
            MatcherOp::NotEqual => text != self.value,
            MatcherOp::Match => is_match(),
            MatcherOp::NotMatch => !is_match(),
        }
    }

    /// Returns the label's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl PartialEq for LabelMatcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

fn compile(pattern: &str) -> Result<Regex, MatcherError> {
    if pattern.len() > MAX_PATTERN_BYTES {
        let message = format!("it has {} bytes, at most {MAX_PATTERN_BYTES} are allowed", pattern.len());
        return Err(MatcherError { message });
    }
    // Parsed alone first: `a)(b` is invalid alone, but valid between the anchors and parentheses.
    regex_syntax::parse(pattern)
        .map_err(|error| error.to_string())
        .and_then(|_| {
            let anchored = format!("^(?s:{pattern})$");
            let built = regex::RegexBuilder::new(&anchored).size_limit(REGEX_BYTES).build();
            built.map_err(|error| error.to_string())
        })
        .map_err(|text| MatcherError { message: describe(pattern, &text) })
}

/// Returns the error on one line with the position. The library's text has a second line with a marker.
fn describe(pattern: &str, text: &str) -> String {
    let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let marker = text.lines().find(|line| line.trim_start().starts_with('^'));
    let excerpt: String = pattern.chars().take(64).collect();
    match marker.and_then(|line| line.find('^')) {
        Some(column) => format!("{reason} at position {} of `{excerpt}`", column.saturating_sub(4)),
        None => format!("{reason} in `{excerpt}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attrs;

    #[test]
    fn a_missing_label_is_the_empty_string() {
        let labels = attrs! { "model_id" => "m1", "shard" => 7 };
        let is = |name: &str, op, value: &str| LabelMatcher::new(name, op, value).unwrap().matches(&labels);
        assert!(
            is("absent", MatcherOp::Equal, "")
                && is("absent", MatcherOp::NotEqual, "x")
                && is("absent", MatcherOp::Match, ".*")
        );
        assert!(is("shard", MatcherOp::Equal, "7") && is("model_id", MatcherOp::NotMatch, "m"));
    }

    #[test]
    fn an_invalid_expression_is_reported_with_its_position() {
        let error = LabelMatcher::new("a", MatcherOp::Match, "x(").unwrap_err();
        assert_eq!(error.to_string(), "invalid regular expression: unclosed group at position 1 of `x(`");
        assert!(LabelMatcher::new("a", MatcherOp::Match, "a)(b").is_err());
        assert!(LabelMatcher::new("a", MatcherOp::Match, "a{1000}{1000}{1000}").is_err());
        let long = LabelMatcher::new("a", MatcherOp::Match, "a".repeat(1_025)).unwrap_err();
        assert_eq!(
            long.to_string(),
            "invalid regular expression: it has 1025 bytes, at most 1024 are allowed"
        );
    }
}
