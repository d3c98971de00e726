//! The map `server:` of the configuration.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use telemetry_core::{Key, KeyKind, OptionError, Options};

use crate::datasets::Datasets;
use crate::limits::Limits;
use crate::tokens::Tokens;

/// The settings of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Address to listen on. Port 0 picks a free port.
    pub listen: SocketAddr,
    /// Second address, for senders of OTLP that expect the standard port.
    pub otlp_listen: Option<SocketAddr>,
    /// Tokens that requests need. Without any, every request is allowed.
    pub tokens: Tokens,
    /// Where exported spans go.
    pub datasets: Datasets,
    /// Limits on connections and requests.
    pub limits: Limits,
    /// Longest time that a client waits until its events are stored. Then it is answered 503.
    pub ack_within: Duration,
    /// Longest time that a shutdown takes.
    pub shutdown_within: Duration,
    /// Lowest level of the program's own log: `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: String,
    /// True if the program's own log is JSON, one object per line.
    pub log_json: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8322)),
            otlp_listen: None,
            tokens: Tokens::default(),
            datasets: Datasets::default(),
            limits: Limits::default(),
            ack_within: Duration::from_secs(5),
            shutdown_within: Duration::from_secs(9),
            log_level: "info".to_owned(),
            log_json: false,
        }
    }
}

const fn key(name: &'static str, kind: KeyKind, default: &'static str, help: &'static str) -> Key {
    Key { name, kind, flat: None, default: Some(default), help }
}

const fn optional(name: &'static str, kind: KeyKind, help: &'static str) -> Key {
    Key { name, kind, flat: None, default: None, help }
}

const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

impl Settings {
    /// The keys of the map `server:`.
    pub const KEYS: &'static [Key] = &[
        key("listen", KeyKind::Text, "127.0.0.1:8322", "address and port; port 0 picks a free port"),
        optional(
            "otlp_listen",
            KeyKind::Text,
            "a second address, for senders of OTLP; SDKs send to 127.0.0.1:4318 by default",
        ),
        optional(
            "tokens",
            KeyKind::Secret,
            "bearer tokens: a list of text, or of maps with `token` and `scopes`",
        ),
        optional("dataset_dir", KeyKind::Path, "directory for exported spans, as JSON Lines"),
        optional("dataset_url", KeyKind::Text, "Llama Stack server for exported spans"),
        optional("dataset_token", KeyKind::Secret, "the bearer token of `dataset_url`"),
        Limits::KEYS[0],
        Limits::KEYS[1],
        Limits::KEYS[2],
        Limits::KEYS[3],
        Limits::KEYS[4],
        Limits::KEYS[5],
        Limits::KEYS[6],
        Limits::KEYS[7],
        key(
            "ack_timeout",
            KeyKind::Duration,
            "5s",
            "longest time a client waits until its events are stored",
        ),
        key("shutdown_timeout", KeyKind::Duration, "9s", "longest time a shutdown takes"),
        key("log_level", KeyKind::Choice(LEVELS), "info", "lowest level of the program's own log"),
        key("log_format", KeyKind::Choice(&["text", "json"]), "text", "format of the program's own log"),
    ];

    /// Reads the map. Absent keys keep their defaults.
    ///
    /// # Errors
    ///
    /// An [`OptionError`] that names the first invalid value.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let mut settings = Self::default();
        let address = |key: &str| {
            let text = options.text(key)?;
            text.map(|text| parse_address(&text).map_err(|error| options.error(key, error))).transpose()
        };
        settings.listen = address("listen")?.unwrap_or(settings.listen);
        settings.otlp_listen = address("otlp_listen")?;
        settings.tokens = Tokens::from_options(options)?;
        settings.datasets = Datasets::from_options(options)?;
        settings.limits = Limits::from_options(options)?;
        settings.ack_within = match options.duration("ack_timeout")? {
            Some(Duration::ZERO) => {
                return Err(options.error(
                    "ack_timeout",
                    "invalid duration 0: expected a positive duration, for example 5s",
                ));
            }
            time => time.unwrap_or(settings.ack_within),
        };
        settings.shutdown_within = options.duration("shutdown_timeout")?.unwrap_or(settings.shutdown_within);
        let levels: Vec<(&str, &str)> = LEVELS.iter().map(|level| (*level, *level)).collect();
        if let Some(level) = options.choice("log_level", &levels)? {
            level.clone_into(&mut settings.log_level);
        }
        let formats = [("text", false), ("json", true)];
        settings.log_json = options.choice("log_format", &formats)?.unwrap_or(settings.log_json);
        Ok(settings)
    }
}

/// Parses an address to listen on: `127.0.0.1:8322`, `[::1]:8322`, `localhost:8322`, or `:8322` for this machine alone.
///
/// # Errors
///
/// Returns a message that shows the forms, or says that the name is unknown.
pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let with_host = if text.starts_with(':') { format!("127.0.0.1{text}") } else { text.to_owned() };
    if let Ok(address) = with_host.parse() {
        return Ok(address);
    }
    let invalid = || {
        format!(
            "invalid address `{text}`: expected a host and a port, for example 127.0.0.1:8322, localhost:8322 or :8322"
        )
    };
    let is_form = with_host.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains([':', '/']) && port.parse::<u16>().is_ok()
    });
    if !is_form {
        return Err(invalid());
    }
    let found =
        with_host.to_socket_addrs().map_err(|error| format!("can't find the host of `{text}`: {error}"))?;
    // SDKs send to the IPv4 address of `localhost`.
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_core::OptionValue;

    #[test]
    fn every_key_is_read() {
        let text = |text: &str| OptionValue::Text(text.into());
        let options = Options::from_pairs([
            ("listen", text("127.0.0.1:0")),
            ("otlp_listen", text("[::1]:4318")),
            ("tokens", text("hush")),
            ("dataset_dir", text("/data")),
            ("max_body_size", text("1KiB")),
            ("ack_timeout", text("1s")),
            ("shutdown_timeout", text("2s")),
            ("log_level", text("debug")),
            ("log_format", text("json")),
        ]);
        // One of the limits is set, and one of the three keys for datasets.
        assert_eq!(options.keys().count() - 1 + 2 + Limits::KEYS.len(), Settings::KEYS.len());
        let expected = Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            otlp_listen: Some("[::1]:4318".parse().unwrap()),
            tokens: Tokens::from_options(&options).unwrap(),
            datasets: Datasets::Directory("/data".into()),
            limits: Limits { max_body_bytes: 1_024, ..Limits::default() },
            ack_within: Duration::from_secs(1),
            shutdown_within: Duration::from_secs(2),
            log_level: "debug".to_owned(),
            log_json: true,
        };
        assert_eq!(Settings::from_options(&options), Ok(expected));
        for wrong in [("listen", text("everywhere")), ("ack_timeout", text("0s"))] {
            assert!(Settings::from_options(&Options::from_pairs([wrong.clone()])).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_address_may_name_its_host_or_leave_it_out() {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for (text, expected) in
            [("127.0.0.1:0", local(0)), (":8373", local(8_373)), ("localhost:8373", local(8_373))]
        {
            assert_eq!(parse_address(text), Ok(expected), "{text}");
        }
        assert_eq!(parse_address("[::1]:4318"), Ok("[::1]:4318".parse().unwrap()));
        for wrong in ["", ":", "8373", "localhost", "http://localhost:8373", "::1:x", "host:99999"] {
            let error = parse_address(wrong).unwrap_err();
            assert!(error.contains("for example 127.0.0.1:8322"), "{error}");
        }
    }
}
