//! Parses a body as JSON.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::problem::{LocPart, Problem};

/// Parses a body.
///
/// A body of white space is an empty object, as in the reference. If a key stands twice, the last value
/// counts. Integers are never converted to floats: one above the range of `u64` becomes `u64::MAX`, which
/// no attribute accepts, and one below the range of `i64` is an error.
///
/// # Errors
///
/// Returns a [`Problem`] of type `json_invalid` with the offset of the byte, also for more than 128 levels
/// of nesting and for numbers beyond the range of a double.
pub fn parse(body: &[u8]) -> Result<Json, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Json::Object(serde_json::Map::new()));
    }
    let body = replace_long_integers(body);
    serde_json::from_slice(&body).map_err(|error| {
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

/// Replaces an integer above the range of `u64`.
const TOO_LARGE: &[u8] = b"18446744073709551615";
/// Replaces an integer below the range of `i64`. No double holds it, so that the parser reports an error.
const TOO_SMALL: &[u8] = b"-1e999";

/// Returns the body with [`TOO_LARGE`] and [`TOO_SMALL`] in place of integers beyond 64 bits, which
/// `serde_json` would convert to floats.
fn replace_long_integers(body: &[u8]) -> Cow<'_, [u8]> {
    let mut replaced: Option<Vec<u8>> = None;
    let (mut copied, mut at, mut in_text) = (0, 0, false);
    while let Some(&byte) = body.get(at) {
        match byte {
            b'\\' if in_text => at += 1,
            b'"' => in_text = !in_text,
            b'-' | b'0'..=b'9' if !in_text => {
                let rest = &body[at..];
                let is_in_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                let number = &rest[..rest.iter().position(|byte| !is_in_number(byte)).unwrap_or(rest.len())];
                if let Some(replacement) = replacement(number) {
                    let text = replaced.get_or_insert_default();
                    text.extend_from_slice(&body[copied..at]);
                    text.extend_from_slice(replacement);
                    copied = at + number.len();
                }
                at += number.len() - 1;
            }
            _ => {}
        }
        at += 1;
    }
    match replaced {
        None => Cow::Borrowed(body),
        Some(mut text) => {
            text.extend_from_slice(&body[copied..]);
            Cow::Owned(text)
        }
    }
}

/// Returns the replacement for an integer beyond 64 bits; `None` for any other number.
fn replacement(number: &[u8]) -> Option<&'static [u8]> {
    let text = std::str::from_utf8(number).ok().filter(|text| text.len() >= 19)?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    let fits = text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
    (is_integer && !fits).then_some(if text.starts_with('-') { TOO_SMALL } else { TOO_LARGE })
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
        assert_eq!(read("[00000000000000000000000]"), None, "not valid JSON");
    }
}
