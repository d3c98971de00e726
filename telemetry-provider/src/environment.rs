//! Environment variables, of the process or of a map.

use std::collections::BTreeMap;

/// Looks up environment variables: [`ProcessEnvironment`] in programs, [`Variables`] in tests.
pub trait Environment {
    /// Returns the value of `name`, or `None` if it is not set.
    ///
    /// # Errors
    ///
    /// [`NotUnicode`] if the value is not valid Unicode.
    fn variable(&self, name: &str) -> Result<Option<String>, NotUnicode>;
}

/// A variable whose value is not valid Unicode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value is not valid Unicode")]
pub struct NotUnicode;

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Result<Option<String>, NotUnicode> {
        // These names can't be set, and on some systems looking them up is undefined behavior.
        if name.is_empty() || name.contains(['=', '\0']) {
            return Ok(None);
        }
        match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(NotUnicode),
        }
    }
}

/// Variables in a map. The default is empty.
///
/// ```
/// use telemetry_provider::{Environment, Variables};
///
/// let environment = Variables::from([("TELEMETRY_SINKS", "console")]);
/// assert_eq!(environment.variable("TELEMETRY_SINKS"), Ok(Some("console".to_owned())));
/// assert_eq!(environment.variable("HOME"), Ok(None));
/// ```
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

/// Shows only the names, since a value may be secret.
impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Variables {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

impl Environment for Variables {
    fn variable(&self, name: &str) -> Result<Option<String>, NotUnicode> {
        Ok(self.0.get(name).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_with_an_invalid_name_is_not_set() {
        for name in ["", "A=B", "A\0B"] {
            assert_eq!(ProcessEnvironment.variable(name), Ok(None));
        }
        assert!(matches!(ProcessEnvironment.variable("PATH"), Ok(Some(_))));
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", Variables::from([("TOKEN", "hush")])), r#"{"TOKEN"}"#);
    }
}
