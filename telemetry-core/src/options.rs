//! Options of a sink: checked values that remember where they came from.

use std::fmt;
use std::time::Duration;

/// Describes one option of a sink. `telemetry sinks`, the README's table and error messages derive from it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the sink's own map.
    pub name: &'static str,
    /// What it takes.
    pub kind: KeyKind,
    /// Its name as a flat key of the provider, for the keys Llama Stack already had.
    pub flat: Option<&'static str>,
    /// The default as configuration text; `${env.…}` and `~` are expanded in it. `None`: none, or
    /// the sink finds one itself, as `help` says.
    pub default: Option<&'static str>,
    /// One sentence for the user.
    pub help: &'static str,
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyKind {
    /// Any text.
    Text,
    /// Text that must not be shown: a token, a header.
    Secret,
    /// A path; `~` is expanded.
    Path,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Integer,
    /// A number.
    Float,
    /// A number of bytes, plain or with `KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB`.
    Size,
    /// A time span, `250ms`, `1s`, `5m`, `2h`, `7d`; a plain number is seconds.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts, or one text with commas.
    List,
    /// A map of texts.
    Map,
}

/// Where a value came from, for error messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// The place in the document, e.g. `telemetry[0].config.sqlite.synchronous`.
    pub path: String,
    /// Line, from 1; `None` for a default or a value of the environment.
    pub line: Option<u32>,
    /// Column, from 1.
    pub column: Option<u32>,
    /// The environment variable that gave the value.
    pub variable: Option<String>,
}

/// A value of a configuration.
#[derive(Clone, PartialEq)]
pub enum OptionValue {
    /// `null`, or empty after a substitution.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Entry>),
    /// A map, in the order of the document.
    Map(Vec<(String, Entry)>),
}

/// Shows the shape only: a value may be secret.
impl fmt::Debug for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())
    }
}

impl OptionValue {
    /// What the value is, for messages.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "boolean",
            Self::Integer(_) => "integer",
            Self::Float(_) => "number",
            Self::Text(_) => "text",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: OptionValue,
    /// Where it came from.
    pub location: Location,
}

/// The options given to one sink, flat keys and defaults already merged in.
///
/// ```
/// use telemetry_core::{OptionValue, Options};
///
/// let options = Options::from_pairs([("max_size", OptionValue::Text("2GiB".into()))]);
/// assert_eq!(options.size("max_size")?, Some(2 << 30));
/// assert_eq!(options.flag("missing")?, None);
/// assert!(options.flag("max_size").is_err());
/// # Ok::<(), telemetry_core::OptionError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options(Vec<(String, Entry)>);

/// An option that can't be used: which, where, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", place(location))]
pub struct OptionError {
    /// Where the value came from.
    pub location: Location,
    /// What is wrong and the way out.
    pub message: String,
}

fn place(location: &Location) -> String {
    let mut text = location.path.clone();
    if let (Some(line), Some(column)) = (location.line, location.column) {
        text = format!("{text} (line {line}, column {column})");
    }
    if let Some(variable) = &location.variable {
        text = format!("{text} (from ${variable})");
    }
    if text.is_empty() { text } else { text + ": " }
}

impl Options {
    /// Options from entries, in order.
    pub fn new(entries: Vec<(String, Entry)>) -> Self {
        Self(entries)
    }

    /// Options from plain values, for tests and programs without YAML.
    pub fn from_pairs<const N: usize>(pairs: [(&str, OptionValue); N]) -> Self {
        let entry = |(key, value): (&str, OptionValue)| {
            let location = Location { path: key.to_owned(), ..Location::default() };
            (key.to_owned(), Entry { value, location })
        };
        Self(pairs.into_iter().map(entry).collect())
    }

    /// The entry of `key`; a null counts as absent.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, entry)| entry)
            .filter(|entry| entry.value != OptionValue::Null)
    }

    /// All keys given, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_str())
    }

    /// Fails with a message about `key`, placed where its value came from.
    pub fn error(&self, key: &str, message: impl Into<String>) -> OptionError {
        let location = self.get(key).map_or_else(
            || Location { path: key.to_owned(), ..Location::default() },
            |entry| entry.location.clone(),
        );
        OptionError { location, message: message.into() }
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&OptionValue) -> Option<T>,
    ) -> Result<Option<T>, OptionError> {
        let Some(entry) = self.get(key) else { return Ok(None) };
        match convert(&entry.value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.error(key, format!("expected {expected}, found {}", entry.value.type_name()))),
        }
    }

    /// A text; numbers and booleans are taken as written.
    pub fn text(&self, key: &str) -> Result<Option<String>, OptionError> {
        self.read(key, "text", scalar_text)
    }

    /// A boolean.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, OptionError> {
        self.read(key, "true or false", |value| match value {
            OptionValue::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A whole number that fits `T`: an unsigned type refuses negatives.
    pub fn integer<T: TryFrom<i64>>(&self, key: &str) -> Result<Option<T>, OptionError> {
        let number = self.read(key, "a whole number", |value| match value {
            OptionValue::Integer(number) => Some(*number),
            _ => None,
        })?;
        let in_range =
            |number| T::try_from(number).map_err(|_| self.error(key, format!("{number} is out of range")));
        number.map(in_range).transpose()
    }

    /// A number.
    #[expect(clippy::cast_precision_loss, reason = "settings are small numbers")]
    pub fn float(&self, key: &str) -> Result<Option<f64>, OptionError> {
        self.read(key, "a number", |value| match value {
            OptionValue::Integer(number) => Some(*number as f64),
            OptionValue::Float(number) => Some(*number),
            _ => None,
        })
    }

    /// A number of bytes.
    pub fn size(&self, key: &str) -> Result<Option<u64>, OptionError> {
        self.read(key, "a size like `64MiB`", |value| match value {
            OptionValue::Integer(number) => u64::try_from(*number).ok(),
            OptionValue::Text(text) => parse_size(text),
            _ => None,
        })
    }

    /// A time span.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, OptionError> {
        self.read(key, "a time span like `250ms`, `5s` or `7d`", |value| match value {
            OptionValue::Integer(number) => u64::try_from(*number).ok().map(Duration::from_secs),
            OptionValue::Float(number) => Duration::try_from_secs_f64(*number).ok(),
            OptionValue::Text(text) => parse_duration(text),
            _ => None,
        })
    }

    /// One of some words, and what it stands for.
    pub fn choice<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, OptionError> {
        let Some(word) = self.text(key)? else { return Ok(None) };
        match words.iter().find(|(known, _)| *known == word) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => {
                let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                Err(self.error(key, format!("`{word}` is none of {}", known.join(", "))))
            }
        }
    }

    /// A list of texts, or one text with commas.
    pub fn list(&self, key: &str) -> Result<Option<Vec<String>>, OptionError> {
        self.read(key, "a list of texts", |value| match value {
            OptionValue::List(items) => items.iter().map(|item| scalar_text(&item.value)).collect(),
            OptionValue::Text(text) => Some(
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect(),
            ),
            _ => None,
        })
    }

    /// A map of texts.
    pub fn map(&self, key: &str) -> Result<Option<Vec<(String, String)>>, OptionError> {
        self.read(key, "a map of texts", |value| match value {
            OptionValue::Map(pairs) => {
                pairs.iter().map(|(name, entry)| Some((name.clone(), scalar_text(&entry.value)?))).collect()
            }
            _ => None,
        })
    }
}

fn scalar_text(value: &OptionValue) -> Option<String> {
    match value {
        OptionValue::Text(text) => Some(text.clone()),
        OptionValue::Integer(number) => Some(number.to_string()),
        OptionValue::Float(number) => Some(number.to_string()),
        OptionValue::Flag(flag) => Some(flag.to_string()),
        OptionValue::Null | OptionValue::List(_) | OptionValue::Map(_) => None,
    }
}

/// Splits `12.5MiB` into its number and its unit.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..end].parse::<f64>().ok()?;
    Some((number, text[end..].trim()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; `as` saturates")]
fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let scale = match unit {
        "" | "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        "TiB" => 1_099_511_627_776.0,
        _ => return None,
    };
    Some((number * scale) as u64)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let seconds = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_read_their_units() {
        assert_eq!(parse_size("10GiB"), Some(10 << 30));
        assert_eq!(parse_size("1.5 kB"), Some(1_500));
        assert_eq!(parse_size("10 parsecs"), None);
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("7d"), Some(Duration::from_secs(604_800)));
        assert_eq!(parse_duration("-1s"), None);
    }

    #[test]
    fn errors_say_where_the_value_came_from() {
        let location = Location {
            path: "telemetry[0].config.sqlite.pool".into(),
            line: Some(3),
            column: Some(9),
            variable: None,
        };
        let options =
            Options::new(vec![("pool".into(), Entry { value: OptionValue::Text("x".into()), location })]);
        assert_eq!(
            options.integer::<u32>("pool").unwrap_err().to_string(),
            "telemetry[0].config.sqlite.pool (line 3, column 9): expected a whole number, found text"
        );
        let options = Options::from_pairs([("pool", OptionValue::Integer(-1))]);
        assert_eq!(options.integer::<u32>("pool").unwrap_err().to_string(), "pool: -1 is out of range");
    }

    #[test]
    fn debug_shows_no_value() {
        let options = Options::from_pairs([("token", OptionValue::Text("hush".into()))]);
        assert!(!format!("{options:?}").contains("hush"));
    }
}
