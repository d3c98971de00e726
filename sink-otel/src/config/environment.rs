//! OpenTelemetry's variables, read through a function so that tests need no process environment.

use std::time::Duration;

use telemetry_core::{Location, OptionError};

use crate::config::SignalKind;

/// Gives the value of an environment variable.
pub(crate) type Lookup<'a> = &'a (dyn Fn(&str) -> Option<String> + Send + Sync);

/// The variables that concern one signal.
#[derive(Clone, Copy)]
pub(crate) struct Variables<'a> {
    lookup: Lookup<'a>,
    signal: SignalKind,
}

/// A variable that is set, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Variable {
    /// Says that the value can't be used for the option `key`. The value is shown: only for what is no secret.
    pub(crate) fn unusable(&self, key: &str, expected: &str) -> OptionError {
        self.error(key, format!("expected {expected}, found `{}`", self.value))
    }

    /// An error about the option `key`, placed at this variable.
    pub(crate) fn error(&self, key: &str, message: String) -> OptionError {
        let location =
            Location { path: key.to_owned(), variable: Some(self.name.clone()), ..Location::default() };
        OptionError { location, message }
    }

    /// The value as milliseconds, at least one: OpenTelemetry gives its time spans so.
    pub(crate) fn milliseconds(&self, key: &str) -> Result<Duration, OptionError> {
        match self.value.trim().parse::<u64>() {
            Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
            Ok(_) | Err(_) => Err(self.unusable(key, "a whole number of milliseconds, at least 1")),
        }
    }
}

impl<'a> Variables<'a> {
    pub(crate) fn new(lookup: Lookup<'a>, signal: SignalKind) -> Self {
        Self { lookup, signal }
    }

    /// A variable by its name. An empty value counts as unset, as OpenTelemetry says.
    pub(crate) fn get(self, name: &str) -> Option<Variable> {
        let value = (self.lookup)(name).filter(|value| !value.trim().is_empty())?;
        Some(Variable { name: name.to_owned(), value })
    }

    /// `OTEL_EXPORTER_OTLP_<SIGNAL>_<suffix>`.
    pub(crate) fn of_signal(self, suffix: &str) -> Option<Variable> {
        self.get(&format!("OTEL_EXPORTER_OTLP_{}_{suffix}", self.signal.word()))
    }

    /// `OTEL_EXPORTER_OTLP_<suffix>`, for all signals.
    pub(crate) fn of_all(self, suffix: &str) -> Option<Variable> {
        self.get(&format!("OTEL_EXPORTER_OTLP_{suffix}"))
    }

    /// The signal's variable, else the one for all signals.
    pub(crate) fn exporter(self, suffix: &str) -> Option<Variable> {
        self.of_signal(suffix).or_else(|| self.of_all(suffix))
    }
}

/// Reads `name=value,name=value` with percent-encoded values, the form of `OTEL_EXPORTER_OTLP_HEADERS`
/// and `OTEL_RESOURCE_ATTRIBUTES`. `None` if a member is malformed.
pub(crate) fn parse_pairs(text: &str) -> Option<Vec<(String, String)>> {
    let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
    members
        .map(|member| {
            let (name, value) = member.split_once('=')?;
            let name = percent_decode(name.trim())?;
            if name.is_empty() { None } else { Some((name, percent_decode(value.trim())?)) }
        })
        .collect()
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_percent_decoded() {
        let pairs = parse_pairs("authorization=Bearer%20x, tenant = a=b ,").unwrap();
        let expected = [("authorization", "Bearer x"), ("tenant", "a=b")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn malformed_pairs_are_refused() {
        for text in ["novalue", "=x", "a=%2", "a=%+1", "a=%ff"] {
            assert_eq!(parse_pairs(text), None, "{text}");
        }
    }
}
