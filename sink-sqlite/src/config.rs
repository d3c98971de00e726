//! Options of the sink.

use std::path::PathBuf;
use std::time::Duration;

use telemetry_core::{Key, KeyKind, OptionError, Options};

/// The options it takes.
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
        help: "`full` survives a power loss after every commit, at a cost; `normal` survives every crash of the program",
    },
    Key {
        name: "readers",
        kind: KeyKind::Integer,
        flat: None,
        default: Some("4"),
        help: "queries answered at once",
    },
    Key {
        name: "query_timeout",
        kind: KeyKind::Duration,
        flat: None,
        default: Some("60s"),
        help: "when a query is given up",
    },
    Key {
        name: "max_size",
        kind: KeyKind::Size,
        flat: None,
        default: None,
        help: "size of the file beyond which the oldest traces are deleted; none by default",
    },
    Key {
        name: "purge_interval",
        kind: KeyKind::Duration,
        flat: None,
        default: Some("10s"),
        help: "how often expired data is deleted; it is hidden at once in any case",
    },
];

/// What a commit survives (SQLite's `PRAGMA synchronous`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// Every crash of the program; after a power loss the last commits may be gone, the file is sound.
    Normal,
    /// A power loss too.
    Full,
}

/// The checked options.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database file.
    pub path: PathBuf,
    /// What a commit survives.
    pub synchronous: Synchronous,
    /// Queries answered at once.
    pub readers: u32,
    /// When a query is given up.
    pub query_timeout: Duration,
    /// Size of the file beyond which the oldest traces are deleted.
    pub max_size: Option<u64>,
    /// How often expired data is deleted.
    pub purge_interval: Duration,
}

impl Config {
    /// The defaults, for this file.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            synchronous: Synchronous::Normal,
            readers: 4,
            query_timeout: Duration::from_secs(60),
            max_size: None,
            purge_interval: Duration::from_secs(10),
        }
    }

    /// Reads the options.
    ///
    /// # Errors
    ///
    /// An [`OptionError`] that names the first unusable value.
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
