//! OpenTelemetry's environment variables of each signal.
//!
//! They are read through a function, so that tests need not change the environment of the process.

use std::time::Duration;

use telemetry_core::{Location, OptionError};

/// The signal that a sink of this crate sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalKind {
    Traces,
    Metrics,
    Logs,
}

impl SignalKind {
    /// Returns the sink's name.
    pub(crate) const fn sink(self) -> &'static str {
        match self {
            Self::Traces => "otel_trace",
            Self::Metrics => "otel_metric",
            Self::Logs => "otel_log",
        }
    }

    /// Returns the word for the signal in the names of environment variables.
    const fn word(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }

    /// Returns the path that is appended to a base URL.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }
}

/// Looks up the value of an environment variable.
pub(crate) type Lookup<'a> = &'a (dyn Fn(&str) -> Option<String> + Send + Sync);

/// Reads the variables of one signal.
#[derive(Clone, Copy)]
pub(crate) struct Variables<'a> {
    lookup: Lookup<'a>,
    signal: SignalKind,
}

/// A variable that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Variable {
    /// Returns an error about the option `key` that shows the value. Not for secrets.
    pub(crate) fn invalid(&self, key: &str, expected: &str) -> OptionError {
        self.error(key, format!("expected {expected}, found `{}`", self.value))
    }

    /// Returns an error about the option `key` that names this variable.
    pub(crate) fn error(&self, key: &str, message: String) -> OptionError {
        let location =
            Location { path: key.to_owned(), variable: Some(self.name.clone()), ..Location::default() };
        OptionError { location, message }
    }

    /// Parses the value as milliseconds, OpenTelemetry's unit for durations. At least 1.
    pub(crate) fn milliseconds(&self, key: &str) -> Result<Duration, OptionError> {
        match self.value.trim().parse::<u64>() {
            Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
            Ok(_) | Err(_) => Err(self.invalid(key, "a whole number of milliseconds, at least 1")),
        }
    }
}

impl<'a> Variables<'a> {
    pub(crate) fn new(lookup: Lookup<'a>, signal: SignalKind) -> Self {
        Self { lookup, signal }
    }

    /// Returns a variable by its name. An empty value counts as unset, as OpenTelemetry requires.
    pub(crate) fn get(self, name: &str) -> Option<Variable> {
        let value = (self.lookup)(name).filter(|value| !value.trim().is_empty())?;
        Some(Variable { name: name.to_owned(), value })
    }

    /// Returns `OTEL_EXPORTER_OTLP_<SIGNAL>_<suffix>`.
    pub(crate) fn of_signal(self, suffix: &str) -> Option<Variable> {
        self.get(&format!("OTEL_EXPORTER_OTLP_{}_{suffix}", self.signal.word()))
    }

    /// Returns `OTEL_EXPORTER_OTLP_<suffix>`, which is for all signals.
    pub(crate) fn of_all(self, suffix: &str) -> Option<Variable> {
        self.get(&format!("OTEL_EXPORTER_OTLP_{suffix}"))
    }

    /// Returns the signal's variable, else the one for all signals.
    pub(crate) fn exporter(self, suffix: &str) -> Option<Variable> {
        self.of_signal(suffix).or_else(|| self.of_all(suffix))
    }
}

/// Parses `name=value,name=value` with percent-encoded values, the form of `OTEL_EXPORTER_OTLP_HEADERS`
/// and `OTEL_RESOURCE_ATTRIBUTES`. Returns `None` if a member is malformed.
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
    fn malformed_pairs_are_rejected() {
        for text in ["novalue", "=x", "a=%2", "a=%+1", "a=%ff"] {
            assert_eq!(parse_pairs(text), None, "{text}");
        }
    }
}
