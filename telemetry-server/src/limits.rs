//! What the server bounds: connections, requests, bytes and waits.

use std::time::Duration;

use telemetry_core::{Key, KeyKind, OptionError, Options};

/// The bounds of the HTTP server. What is beyond one is refused with a reason, or waits.
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
    /// Bytes of a request's body.
    pub max_body_bytes: usize,
    /// Bytes of a request's head.
    pub max_header_bytes: usize,
    /// Bytes of all bodies that are held at once; a request beyond is answered 503.
    pub max_held_bytes: usize,
    /// Connections. At the bound a new one takes the place of the one that has waited the longest.
    pub max_connections: usize,
    /// Requests that are worked on at once; one beyond is answered 503.
    pub max_requests: usize,
    /// How long a connection may be idle, and how long the head of a request may take.
    pub header_timeout: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
    /// How long a client may take nothing of an answer.
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
    /// The keys of `server:` that set these.
    pub const KEYS: [Key; 8] = [
        key("max_body_size", KeyKind::Size, "16MiB", "largest body of a request"),
        key("max_header_size", KeyKind::Size, "32KiB", "largest head of a request"),
        key("max_held_size", KeyKind::Size, "32MiB", "bytes of all bodies held at once; beyond: 503"),
        key("max_connections", KeyKind::Integer, "1024", "connections; the longest waiting makes room"),
        key("max_requests", KeyKind::Integer, "512", "requests worked on at once; beyond: 503"),
        key("header_timeout", KeyKind::Duration, "30s", "how long idling, or a request's head, may take"),
        key("body_timeout", KeyKind::Duration, "30s", "how long the body of a request may take"),
        key("write_timeout", KeyKind::Duration, "30s", "how long a client may take nothing of an answer"),
    ];

    /// Reads the keys; what is absent keeps its default.
    ///
    /// # Errors
    ///
    /// An [`OptionError`] that names the first unusable value; a bound of zero is one, and a largest body
    /// that is larger than all bodies together may be.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let default = Self::default();
        let size = |key: &str, default: usize| match options.size(key)? {
            Some(0) => Err(options.error(key, "nothing would get through; give at least 1")),
            Some(bytes) => Ok(usize::try_from(bytes).unwrap_or(usize::MAX)),
            None => Ok(default),
        };
        let number = |key: &str, default: usize| match options.integer::<usize>(key)? {
            Some(0) => Err(options.error(key, "nothing would get through; give at least 1")),
            Some(number) => Ok(number),
            None => Ok(default),
        };
        let time = |key: &str, default: Duration| match options.duration(key)? {
            Some(Duration::ZERO) => Err(options.error(key, "nothing would get through; give some time")),
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
            let message =
                "the largest body would never be held: `max_held_size` must be at least `max_body_size`";
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
    fn the_largest_body_can_be_held() {
        let size = |size: &str| OptionValue::Text(size.to_owned());
        let body_alone = Options::from_pairs([("max_body_size", size("128MiB"))]);
        assert_eq!(Limits::from_options(&body_alone).unwrap_err().location.path, "max_body_size");
        let held_alone = Options::from_pairs([("max_held_size", size("1MiB"))]);
        assert_eq!(Limits::from_options(&held_alone).unwrap_err().location.path, "max_held_size");
        let both = Options::from_pairs([("max_body_size", size("1MiB")), ("max_held_size", size("1MiB"))]);
        assert!(Limits::from_options(&both).is_ok());
    }

    #[test]
    fn a_bound_of_zero_is_refused() {
        for key in Limits::KEYS {
            let options = Options::from_pairs([(key.name, OptionValue::Integer(0))]);
            assert!(Limits::from_options(&options).is_err(), "{}", key.name);
        }
    }
}
