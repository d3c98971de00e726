//! Options of a sink: values that remember where they came from.

use std::fmt;
use std::time::Duration;

/// Describes one option of a sink. `telemetry sinks`, the README's table and error messages are built from it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the sink's own section.
    pub name: &'static str,
    /// The type of its value.
    pub kind: KeyKind,
    /// Its name at the top level of the provider's configuration, for options that Llama Stack defined.
    pub flat: Option<&'static str>,
    /// The default as configuration text, in which `${env.…}` and `~` are expanded. `None`: there is no
    /// default, or the sink computes it, as `help` explains.
    pub default: Option<&'static str>,
    /// One sentence for the user.
    pub help: &'static str,
}

/// The type of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyKind {
    /// Any text.
    Text,
    /// Text that must never be shown: a token, a header.
    Secret,
    /// A path, in which `~` is expanded.
    Path,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Integer,
    /// A number.
    Float,
    /// A number of bytes, plain or with `KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB`.
    Size,
    /// A duration: `250ms`, `1s`, `5m`, `2h`, `7d`; a plain number is seconds.
    Duration,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A list of texts, or one text separated by commas.
    List,
    /// A map of texts.
    Map,
}

/// Where a value came from, for error messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// The place in the document, for example `telemetry[0].config.sqlite.synchronous`.
    pub path: String,
    /// The line, from 1; `None` for a default or an environment variable.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
    /// The environment variable that the value came from.
    pub variable: Option<String>,
}

/// A value of a configuration.
#[derive(Clone, PartialEq)]
pub enum OptionValue {
    /// `null`, or an empty text after a substitution.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A number that is not whole.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Entry>),
    /// A map, in the order of the document.
    Map(Vec<(String, Entry)>),
}

/// Writes only the type: the value may be secret.
impl fmt::Debug for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())
    }
}

impl OptionValue {
    /// Returns the name of the value's type, for messages.
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

/// The options of one sink, with top-level keys and defaults merged in.
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

/// An invalid option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", place(location))]
pub struct OptionError {
    /// Where the value came from.
    pub location: Location,
    /// What is wrong, and what would be right.
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
    /// Returns options with these entries.
    pub fn new(entries: Vec<(String, Entry)>) -> Self {
        Self(entries)
    }

    /// Returns options with these values, for tests and programs without YAML.
    pub fn from_pairs<const N: usize>(pairs: [(&str, OptionValue); N]) -> Self {
        let entry = |(key, value): (&str, OptionValue)| {
            let location = Location { path: key.to_owned(), ..Location::default() };
            (key.to_owned(), Entry { value, location })
        };
        Self(pairs.into_iter().map(entry).collect())
    }

    /// Returns the entry of `key`; `None` for null.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, entry)| entry)
            .filter(|entry| entry.value != OptionValue::Null)
    }

    /// Iterates over all keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_str())
    }

    /// Returns an error about `key`, with the location of its value.
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

    /// Returns a text. Numbers and booleans are converted.
    pub fn text(&self, key: &str) -> Result<Option<String>, OptionError> {
        self.read(key, "text", scalar_text)
    }

    /// Returns a boolean.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, OptionError> {
        self.read(key, "true or false", |value| match value {
            OptionValue::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    /// Returns a whole number. A number that does not fit `T` is an error.
    pub fn integer<T: TryFrom<i64>>(&self, key: &str) -> Result<Option<T>, OptionError> {
        let number = self.read(key, "a whole number", |value| match value {
            OptionValue::Integer(number) => Some(*number),
            _ => None,
        })?;
        let in_range =
            |number| T::try_from(number).map_err(|_| self.error(key, format!("{number} is out of range")));
        number.map(in_range).transpose()
    }

    /// Returns a number.
    #[expect(clippy::cast_precision_loss, reason = "settings are small numbers")]
    pub fn float(&self, key: &str) -> Result<Option<f64>, OptionError> {
        self.read(key, "a number", |value| match value {
            OptionValue::Integer(number) => Some(*number as f64),
            OptionValue::Float(number) => Some(*number),
            _ => None,
        })
    }

    /// Returns a number of bytes.
    pub fn size(&self, key: &str) -> Result<Option<u64>, OptionError> {
        self.read(key, "a size like `64MiB`", |value| match value {
            OptionValue::Integer(number) => u64::try_from(*number).ok(),
            OptionValue::Text(text) => parse_size(text),
            _ => None,
        })
    }

    /// Returns a duration.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, OptionError> {
        self.read(key, "a duration like `250ms`, `5s` or `7d`", |value| match value {
            OptionValue::Integer(number) => u64::try_from(*number).ok().map(Duration::from_secs),
            OptionValue::Float(number) => Duration::try_from_secs_f64(*number).ok(),
            OptionValue::Text(text) => parse_duration(text),
            _ => None,
        })
    }

    /// Returns the meaning of one of `choices`.
    pub fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>, OptionError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => {
                let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
                Err(self.error(key, format!("unknown value `{text}`: expected one of {}", names.join(", "))))
            }
        }
    }

    /// Returns a list of texts. A single text is split at its commas.
    pub fn list(&self, key: &str) -> Result<Option<Vec<String>>, OptionError> {
        self.read(key, "a list of texts", |value| match value {
            OptionValue::List(items) => items.iter().map(|item| scalar_text(&item.value)).collect(),
            OptionValue::Text(text) => Some(
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect(),
            ),
            _ => None,
        })
    }

    /// Returns a map of texts.
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
    fn sizes_and_durations_have_units() {
        assert_eq!(parse_size("10GiB"), Some(10 << 30));
        assert_eq!(parse_size("1.5 kB"), Some(1_500));
        assert_eq!(parse_size("10 parsecs"), None);
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("7d"), Some(Duration::from_secs(604_800)));
        assert_eq!(parse_duration("-1s"), None);
    }

    #[test]
    fn errors_name_the_place_of_the_value() {
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
