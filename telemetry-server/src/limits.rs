//! Limits of the server: connections, requests, bytes and times.

use std::time::Duration;

use telemetry_core::{Key, KeyKind, OptionError, Options};

/// The limits of the HTTP server. A request beyond a limit waits, or is refused with a reason.
///
/// ```
/// use telemetry_core::{OptionValue, Options};
/// use telemetry_server::Limits;
///
/// let options = Options::from_pairs([("max_connections", OptionValue::Integer(64))]);
/// let limits = Limits::from_options(&options)?;
/// assert_eq!(limits.max_connections, 64);
/// assert_eq!(limits.max_requests, Limits::default().max_requests);
/// # Ok::<(), telemetry_core::OptionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// Largest head of a request, in bytes.
    pub max_header_bytes: usize,
    /// Largest size of the bodies of all requests together, in bytes. A request beyond it is answered 503.
    pub max_held_bytes: usize,
    /// Largest number of connections. A new one beyond it replaces the one that has waited the longest.
    pub max_connections: usize,
    /// Largest number of requests processed at once. One beyond it is answered 503.
    pub max_requests: usize,
    /// Longest time that a connection may be idle, and that the head of a request may take.
    pub header_timeout: Duration,
    /// Longest time that the body of a request may take.
    pub body_timeout: Duration,
    /// Longest time that a client may read nothing of an answer.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 16 << 20,
            max_header_bytes: 32 << 10,
            max_held_bytes: 32 << 20,
            max_connections: 1_024,
            max_requests: 512,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
        }
    }
}

const fn key(name: &'static str, kind: KeyKind, default: &'static str, help: &'static str) -> Key {
    Key { name, kind, flat: None, default: Some(default), help }
}

impl Limits {
    /// The keys of these limits in the map `server:`.
    pub const KEYS: [Key; 8] = [
        key("max_body_size", KeyKind::Size, "16MiB", "largest body of a request"),
        key("max_header_size", KeyKind::Size, "32KiB", "largest head of a request"),
        key(
            "max_held_size",
            KeyKind::Size,
            "32MiB",
            "largest size of the bodies of all requests together; beyond it: 503",
        ),
        key(
            "max_connections",
            KeyKind::Integer,
            "1024",
            "largest number of connections; a new one replaces the longest waiting",
        ),
        key(
            "max_requests",
            KeyKind::Integer,
            "512",
            "largest number of requests processed at once; beyond it: 503",
        ),
        key(
            "header_timeout",
            KeyKind::Duration,
            "30s",
            "longest time a connection is idle, or a request's head takes",
        ),
        key("body_timeout", KeyKind::Duration, "30s", "longest time the body of a request takes"),
        key("write_timeout", KeyKind::Duration, "30s", "longest time a client reads nothing of an answer"),
    ];

    /// Reads the keys. Absent keys keep their defaults.
    ///
    /// # Errors
    ///
    /// An [`OptionError`] that names the first invalid value. Zero is invalid, and so is a `max_body_size` that is
    /// larger than `max_held_size`.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let default = Self::default();
        let size = |key: &str, default: usize| match options.size(key)? {
            Some(0) => Err(options.error(key, "invalid limit 0: expected at least 1")),
            Some(bytes) => Ok(usize::try_from(bytes).unwrap_or(usize::MAX)),
            None => Ok(default),
        };
        let number = |key: &str, default: usize| match options.integer::<usize>(key)? {
            Some(0) => Err(options.error(key, "invalid limit 0: expected at least 1")),
            Some(number) => Ok(number),
            None => Ok(default),
        };
        let time = |key: &str, default: Duration| match options.duration(key)? {
            Some(Duration::ZERO) => {
                Err(options.error(key, "invalid duration 0: expected a positive duration, for example 30s"))
            }
            Some(time) => Ok(time),
            None => Ok(default),
        };
        let limits = Self {
            max_body_bytes: size("max_body_size", default.max_body_bytes)?,
            max_header_bytes: size("max_header_size", default.max_header_bytes)?,
            max_held_bytes: size("max_held_size", default.max_held_bytes)?,
            max_connections: number("max_connections", default.max_connections)?,
            max_requests: number("max_requests", default.max_requests)?,
            header_timeout: time("header_timeout", default.header_timeout)?,
            body_timeout: time("body_timeout", default.body_timeout)?,
            write_timeout: time("write_timeout", default.write_timeout)?,
        };
        if limits.max_held_bytes < limits.max_body_bytes {
            let key = if options.get("max_held_size").is_some() { "max_held_size" } else { "max_body_size" };
            let message = "a body of the largest size would always be refused: `max_held_size` must be at least `max_body_size`";
            return Err(options.error(key, message));
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_core::OptionValue;

    #[test]
    fn the_defaults_are_those_of_the_keys() {
        let options = Options::new(
            Limits::KEYS
                .iter()
                .map(|key| {
                    let text = key.default.unwrap();
                    let value = match text.parse() {
                        Ok(number) => OptionValue::Integer(number),
                        Err(_) => OptionValue::Text(text.to_owned()),
                    };
                    let location = telemetry_core::Location::default();
                    (key.name.to_owned(), telemetry_core::Entry { value, location })
                })
                .collect(),
        );
        assert_eq!(Limits::from_options(&options), Ok(Limits::default()));
    }

    #[test]
    fn all_bodies_together_may_be_as_large_as_one_body() {
        let size = |size: &str| OptionValue::Text(size.to_owned());
        let body_alone = Options::from_pairs([("max_body_size", size("128MiB"))]);
        assert_eq!(Limits::from_options(&body_alone).unwrap_err().location.path, "max_body_size");
        let together_alone = Options::from_pairs([("max_held_size", size("1MiB"))]);
        assert_eq!(Limits::from_options(&together_alone).unwrap_err().location.path, "max_held_size");
        let both = Options::from_pairs([("max_body_size", size("1MiB")), ("max_held_size", size("1MiB"))]);
        assert!(Limits::from_options(&both).is_ok());
    }

    #[test]
    fn a_limit_of_zero_is_invalid() {
        for key in Limits::KEYS {
            let options = Options::from_pairs([(key.name, OptionValue::Integer(0))]);
            assert!(Limits::from_options(&options).is_err(), "{}", key.name);
        }
    }
}
