//! What is printed can't drive the terminal.

use std::borrow::Cow;

use telemetry_core::{Attribute, Attributes};

/// Characters a value is cut at.
const LONGEST: usize = 1_000;
const CUT_MARK: &str = "...";

/// Whether a terminal might act on the character, or show the rest of the line in another order.
pub(crate) fn is_unsafe(c: char) -> bool {
    let turns_text = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks_line = matches!(c, '\u{2028}' | '\u{2029}');
    c.is_control() || turns_text || breaks_line
}

/// Appends the text with everything unsafe escaped as Rust writes it: `\n`, `\u{1b}`.
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

/// The text, or its beginning and a mark: 1,000 characters together.
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    // A text of so few bytes has no more characters than that.
    if text.len() <= LONGEST || text.chars().nth(LONGEST).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().take(LONGEST - CUT_MARK.len()).chain(CUT_MARK.chars()).collect())
}

/// The attributes that are shown: those whose key does not begin `__`.
pub(crate) fn shown(attributes: &Attributes) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|(key, _)| !key.starts_with("__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_survives() {
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
