//! The options of the sink.

use std::path::PathBuf;
use std::time::Duration;

use telemetry_core::{Key, KeyKind, OptionError, Options};

/// The options of the sink.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "path",
        kind: KeyKind::Path,
        flat: Some("sqlite_db_path"),
        default: Some("${env.SQLITE_STORE_DIR:=~/.llama/runtime}/trace_store.db"),
        help: "the database file; created with its folder if missing",
    },
    Key {
        name: "synchronous",
        kind: KeyKind::Choice(&["normal", "full"]),
        flat: None,
        default: Some("normal"),
        help: "what a commit survives: `full` a power loss, at a cost; `normal` every crash of the program",
    },
    Key {
        name: "readers",
        kind: KeyKind::Integer,
        flat: None,
        default: Some("4"),
        help: "number of queries that are answered at the same time",
    },
    Key {
        name: "query_timeout",
        kind: KeyKind::Duration,
        flat: None,
        default: Some("60s"),
        help: "time after which a query is cancelled",
    },
    Key {
        name: "max_size",
        kind: KeyKind::Size,
        flat: None,
        default: None,
        help: "largest size of the file; beyond it the oldest data is deleted; no limit by default",
    },
    Key {
        name: "purge_interval",
        kind: KeyKind::Duration,
        flat: None,
        default: Some("10s"),
        help: "how often expired data is deleted from the file; queries never show it",
    },
    Key {
        name: "clock_jump_wait",
        kind: KeyKind::Duration,
        flat: None,
        default: Some("1h"),
        help: "after a jump of the system's clock forward, how long the clock must stay there until data is deleted by it",
    },
];

/// What a commit survives (SQLite's `PRAGMA synchronous`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// Every crash of the program. After a power loss the last commits may be missing; the file is sound.
    Normal,
    /// A power loss too.
    Full,
}

/// The checked options of the sink.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database file.
    pub path: PathBuf,
    /// What a commit survives.
    pub synchronous: Synchronous,
    /// Number of queries that are answered at the same time.
    pub readers: u32,
    /// Time after which a query is cancelled.
    pub query_timeout: Duration,
    /// Largest size of the file in bytes. Beyond it the oldest data of every kind is deleted.
    pub max_size: Option<u64>,
    /// How often expired data is deleted from the file.
    pub purge_interval: Duration,
    /// After a jump of the system's clock forward, how long it must stay there until data is deleted by it.
    pub clock_jump_wait: Duration,
}

impl Config {
    /// Returns the defaults for the database at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            synchronous: Synchronous::Normal,
            readers: 4,
            query_timeout: Duration::from_secs(60),
            max_size: None,
            purge_interval: Duration::from_secs(10),
            clock_jump_wait: Duration::from_secs(3_600),
        }
    }

    /// Checks the options of the sink.
    ///
    /// # Errors
    ///
    /// Returns an [`OptionError`] that names the first invalid value.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let path = options.text("path")?.ok_or_else(|| options.error("path", "a path is required"))?;
        let mut config = Self::at(path);
        let words = [("normal", Synchronous::Normal), ("full", Synchronous::Full)];
        config.synchronous = options.choice("synchronous", &words)?.unwrap_or(config.synchronous);
        config.readers = options.integer("readers")?.unwrap_or(config.readers);
        if config.readers == 0 {
            return Err(options.error("readers", "must be at least 1"));
        }
        config.query_timeout = options.duration("query_timeout")?.unwrap_or(config.query_timeout);
        config.max_size = options.size("max_size")?;
        config.clock_jump_wait = options.duration("clock_jump_wait")?.unwrap_or(config.clock_jump_wait);
        config.purge_interval = options.duration("purge_interval")?.unwrap_or(config.purge_interval);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_core::OptionValue;

    #[test]
    fn options_are_checked() {
        let text = |text: &str| OptionValue::Text(text.into());
        let options = Options::from_pairs([("path", text("/tmp/x.db")), ("synchronous", text("full"))]);
        assert_eq!(Config::from_options(&options).unwrap().synchronous, Synchronous::Full);
        let wrong = Options::from_pairs([("path", text("x")), ("synchronous", text("off"))]);
        let message = Config::from_options(&wrong).unwrap_err().to_string();
        assert_eq!(message, "synchronous: unknown value `off`: expected one of normal, full");
        assert!(Config::from_options(&Options::default()).is_err());
    }
}
