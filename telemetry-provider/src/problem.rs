//! A problem of a configuration: its message, its place, and suggestions for unknown words.

use std::fmt;

use telemetry_core::Location;

use crate::yaml::Position;

/// Number of characters of a line that an excerpt shows.
const EXCERPT_WIDTH: usize = 100;
/// Words in a key whose value may be secret.
const SECRET_WORDS: [&str; 8] =
    ["token", "secret", "password", "passwd", "credential", "headers", "authorization", "api_key"];

/// Similarity, from 0 to 1, that a known word must have to be suggested for an unknown one.
const MIN_SIMILARITY: f64 = 0.8;

/// One problem of a configuration: where it is, what is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where the problem is. The path is empty if the text is not YAML, and for an environment variable.
    pub location: Location,
    /// What is wrong, and what would be right.
    pub message: String,
    /// The line with a caret under the column. The line itself is left out if it may contain a secret.
    pub excerpt: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location { path, line, column, variable } = &self.location;
        f.write_str(path)?;
        if let (Some(line), Some(column)) = (line, column) {
            if path.is_empty() {
                write!(f, "line {line}, column {column}")?;
            } else {
                write!(f, " (line {line}, column {column})")?;
            }
        }
        match variable {
            Some(variable) if path.is_empty() => write!(f, "${variable}")?,
            Some(variable) => write!(f, " (from ${variable})")?,
            None => {}
        }
        write!(f, ": {}", self.message)?;
        match &self.excerpt {
            Some(excerpt) => write!(f, "\n{excerpt}"),
            None => Ok(()),
        }
    }
}

/// Returns the line with a caret under the column, or `None` if the text has no such line:
///
/// ```text
///   3 |     synchronus: full
///     |     ^
/// ```
///
/// A line that may contain a secret is not shown. That is a line with a key of `secret_keys` or one of
/// [`SECRET_WORDS`], and every line nested under such a line.
pub(crate) fn excerpt(source: &str, position: Position, secret_keys: &[&str]) -> Option<String> {
    let lines: Vec<&str> = source.lines().collect();
    let index = usize::try_from(position.line).ok()?.checked_sub(1)?;
    let line = lines.get(index)?;
    let number = position.line.to_string();
    let margin = " ".repeat(number.len());
    if may_be_secret(&lines, index, secret_keys) {
        return Some(format!("  {number} | (not shown: it may contain a secret)"));
    }
    let column = usize::try_from(position.column).ok()?.saturating_sub(1);
    let skipped = column.saturating_sub(EXCERPT_WIDTH / 2);
    let shown: String = line.chars().skip(skipped).take(EXCERPT_WIDTH).map(printable).collect();
    let indent = " ".repeat(column - skipped);
    Some(format!("  {number} | {}\n  {margin} | {indent}^", shown.trim_end()))
}

/// Replaces tabs and control characters, so that the caret is under the right column and the text can't
/// control the terminal.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{FFFD}',
        c => c,
    }
}

/// Returns true if the line, or a line that it is nested under, contains a word for something secret.
fn may_be_secret(lines: &[&str], index: usize, secret_keys: &[&str]) -> bool {
    let names_secret = |line: &str| {
        let line = line.to_lowercase();
        SECRET_WORDS.iter().chain(secret_keys).any(|word| line.contains(word))
    };
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    let mut inner = indent(lines[index]);
    if names_secret(lines[index]) {
        return true;
    }
    for line in lines[..index].iter().rev().filter(|line| !line.trim().is_empty()) {
        // Inside brackets, indentation does not show the nesting.
        let opens = line.trim_end().ends_with(['[', '{', ',']);
        if indent(line) < inner || (opens && indent(line) <= inner) {
            if names_secret(line) {
                return true;
            }
            inner = inner.min(indent(line));
        }
    }
    false
}

/// Returns the end of a message about an unknown word: the most similar word of `known`, as in
/// ``; did you mean `synchronous`?``, or all of them.
pub(crate) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    match nearest(word, known.iter().copied()) {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None if known.is_empty() => "; there is nothing to choose from".to_owned(),
        None => format!("; expected one of {}", known.join(", ")),
    }
}

/// Returns the word of `known` that is most similar to `word`, if any is similar enough.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let similarity = |candidate: &str| strsim::jaro_winkler(word, candidate);
    let similar = known.into_iter().filter(|candidate| similarity(candidate) >= MIN_SIMILARITY);
    similar.max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(source: &str, line: u32, column: u32) -> Option<String> {
        excerpt(source, Position { line, column }, &["webhook_key"])
    }

    #[test]
    fn the_caret_is_under_the_column() {
        assert_eq!(at("a:\n  ß: x\n", 2, 6).unwrap(), "  2 |   ß: x\n    |      ^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_column() {
        let line = "x".repeat(1_000);
        let shown = at(&line, 1, 500).unwrap();
        assert_eq!(shown, format!("  1 | {}\n    | {}^", "x".repeat(100), " ".repeat(50)));
    }

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(at("a: \u{1b}[2J", 1, 1).unwrap(), "  1 | a: \u{FFFD}[2J\n    | ^");
    }

    #[test]
    fn a_line_that_may_contain_a_secret_is_not_shown() {
        for (source, line) in [
            ("token: hush", 1),
            ("acme: {webhook_key: hush, x: 1}", 1),
            ("otel_trace:\n  headers:\n    x-team: hush", 3),
            ("server:\n  tokens:\n  - hush", 3),
            ("server: {tokens: [hush\n", 1),
            ("server: {tokens: [\nhush\n", 2),
        ] {
            assert!(!at(source, line, 1).unwrap().contains("hush"), "{source}");
        }
        assert!(at("headers:\n  a: hush\nsinks: x", 3, 1).unwrap().contains("sinks"));
    }

    #[test]
    fn a_position_outside_the_text_has_no_excerpt() {
        for (line, column) in [(0, 0), (2, 1), (u32::MAX, u32::MAX)] {
            assert_eq!(at("a: b", line, column), None);
        }
    }

    #[test]
    fn the_most_similar_word_is_suggested_or_else_all() {
        assert_eq!(suggestion("pth", ["path", "readers"]), "; did you mean `path`?");
        assert_eq!(suggestion("colour", ["path", "readers"]), "; expected one of path, readers");
        assert_eq!(suggestion("colour", []), "; there is nothing to choose from");
    }
}
