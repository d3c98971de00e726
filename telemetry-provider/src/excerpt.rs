//! The line of a problem, as far as it may be shown.

use crate::yaml::Position;

/// Characters of a line that are shown.
const WIDTH: usize = 100;
/// Words in a key that say that what stands beneath it is not for showing.
const SECRET_WORDS: [&str; 8] =
    ["token", "secret", "password", "passwd", "credential", "headers", "authorization", "api_key"];

/// The line with a caret under the column:
///
/// ```text
///   3 |     synchronus: full
///     |     ^
/// ```
///
/// A line that may hold a secret is not shown: one that names a key of `secret_keys` or a word for
/// something secret, or stands beneath such a line.
pub(crate) fn excerpt(source: &str, position: Position, secret_keys: &[&str]) -> Option<String> {
    let lines: Vec<&str> = source.lines().collect();
    let index = usize::try_from(position.line).ok()?.checked_sub(1)?;
    let line = lines.get(index)?;
    let number = position.line.to_string();
    let margin = " ".repeat(number.len());
    if may_be_secret(&lines, index, secret_keys) {
        return Some(format!("  {number} | (not shown: it may hold a secret)"));
    }
    let column = usize::try_from(position.column).ok()?.saturating_sub(1);
    let skipped = column.saturating_sub(WIDTH / 2);
    let shown: String = line.chars().skip(skipped).take(WIDTH).map(printable).collect();
    let indent = " ".repeat(column - skipped);
    Some(format!("  {number} | {}\n  {margin} | {indent}^", shown.trim_end()))
}

/// One column for one character, and nothing that drives a terminal.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{FFFD}',
        c => c,
    }
}

/// Whether the line, or a line it is indented under, names something secret.
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
        // Within brackets the indent says nothing.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(source: &str, line: u32, column: u32) -> Option<String> {
        excerpt(source, Position { line, column }, &["webhook_key"])
    }

    #[test]
    fn the_caret_stands_under_the_column() {
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
    fn what_may_be_secret_is_not_shown() {
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
    fn a_place_outside_the_text_has_no_excerpt() {
        for (line, column) in [(0, 0), (2, 1), (u32::MAX, u32::MAX)] {
            assert_eq!(at("a: b", line, column), None);
        }
    }
}
