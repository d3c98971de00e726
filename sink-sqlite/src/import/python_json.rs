//! JSON as Python's `json.dumps` writes it: with `NaN`, `Infinity` and `-Infinity`, which JSON itself does not have.

use serde_json::Value as Json;

/// Parses the text. These three floats become strings.
pub(super) fn parse(text: &str) -> Result<Json, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| match quoted(text) {
        Some(quoted) => serde_json::from_str(&quoted),
        None => Err(error),
    })
}

/// Returns the text with these floats in quotes, or `None` if there are none.
fn quoted(text: &str) -> Option<String> {
    const WORDS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
    let mut quoted = String::with_capacity(text.len() + 8);
    let (mut rest, mut in_string, mut found) = (text, false, false);
    while let Some(next) = rest.chars().next() {
        if !in_string && let Some(word) = WORDS.iter().find(|word| rest.starts_with(**word)) {
            quoted.extend(["\"", word, "\""]);
            rest = &rest[word.len()..];
            found = true;
            continue;
        }
        let taken = if in_string && next == '\\' {
            // An escaped character does not end the string.
            rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at)
        } else {
            in_string ^= next == '"';
            next.len_utf8()
        };
        quoted.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    found.then_some(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn floats_that_json_lacks_are_kept_as_text() {
        let read = parse(r#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" NaN", "d": 1.0}"#).unwrap();
        assert_eq!(read, json!({"a": "NaN", "b": ["-Infinity", "Infinity"], "c": "NaN \" NaN", "d": 1.0}));
        assert!(parse("{\"a\": NaN").is_err());
        assert!(parse("no").is_err());
    }
}
