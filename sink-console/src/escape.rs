//! Escapes and cuts text, so that it cannot control the terminal or flood it.

use std::borrow::Cow;

use telemetry_core::{Attribute, Attributes};

/// The largest number of characters of a printed value.
const MAX_CHARS: usize = 1_000;
const CUT_MARK: &str = "...";

/// Returns true if the character can control a terminal, break the line or reverse the direction of text.
pub(crate) fn is_unsafe(c: char) -> bool {
    let changes_direction =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks_line = matches!(c, '\u{2028}' | '\u{2029}');
    c.is_control() || changes_direction || breaks_line
}

/// Appends the text, with unsafe characters in Rust's escapes: `\n`, `\u{1b}`.
pub(crate) fn push_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(place) = rest.find(is_unsafe) {
        let (safe, tail) = rest.split_at(place);
        out.push_str(safe);
        let mut chars = tail.chars();
        out.extend(chars.next().into_iter().flat_map(char::escape_default));
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// Returns the text, cut with a mark at the end if it has more than 1,000 characters.
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    // Counting bytes first is fast: there are never more characters than bytes.
    if text.len() <= MAX_CHARS || text.chars().nth(MAX_CHARS).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().take(MAX_CHARS - CUT_MARK.len()).chain(CUT_MARK.chars()).collect())
}

/// Iterates over the attributes that are shown: those whose key does not begin with `__`.
pub(crate) fn shown(attributes: &Attributes) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|(key, _)| !key.starts_with("__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let mut out = String::new();
        push_escaped(&mut out, "a\u{1b}[31m\nb\t\u{7f}\u{9b}\u{202e}\0é🦙\\");
        assert_eq!(out, r"a\u{1b}[31m\nb\t\u{7f}\u{9b}\u{202e}\u{0}é🦙\");
    }

    #[test]
    fn a_thousand_characters_are_whole_and_one_more_is_cut() {
        let whole = "é".repeat(1_000);
        assert_eq!(cut(&whole), whole);
        let cut = cut(&"é".repeat(1_001)).into_owned();
        assert_eq!(cut, "é".repeat(997) + "...");
        assert_eq!(cut.chars().count(), 1_000);
    }
}
