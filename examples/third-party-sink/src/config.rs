//! Options of the sink.

use std::path::PathBuf;

use telemetry_core::{Key, KeyKind, OptionError, Options};

/// The options it takes. Error messages, `telemetry sinks` and the contract's tests read this table.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "path",
        kind: KeyKind::Path,
        flat: None,
        default: Some("~/.llama/runtime/telemetry.ndjson"),
        help: "the file to append to; created with its folder if missing",
    },
    Key {
        name: "max_file_size",
        kind: KeyKind::Size,
        flat: None,
        default: Some("64MiB"),
        help: "size beyond which a new file is begun; one batch is never divided",
    },
    Key {
        name: "max_files",
        kind: KeyKind::Integer,
        flat: None,
        default: Some("5"),
        help: "files kept, the current one among them",
    },
    Key {
        name: "sync",
        kind: KeyKind::Flag,
        flat: None,
        default: Some("false"),
        help: "whether a batch counts as delivered only once it is on the disk itself",
    },
];

/// The checked options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file to append to.
    pub path: PathBuf,
    /// Bytes beyond which a new file is begun.
    pub max_file_size: u64,
    /// Files kept, at least 1.
    pub max_files: u32,
    /// Whether every batch waits for the disk.
    pub sync: bool,
}

impl Config {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// An [`OptionError`] that names the first unusable value.
    ///
    /// ```
    /// use sink_ndjson::Config;
    /// use telemetry_core::{OptionValue, Options};
    ///
    /// let options = Options::from_pairs([("path", OptionValue::Text("/tmp/t.ndjson".into()))]);
    /// assert_eq!(Config::from_options(&options)?.max_files, 5);
    /// let error = Config::from_options(&Options::default()).unwrap_err();
    /// assert_eq!(error.to_string(), "path: a file is needed");
    /// # Ok::<(), telemetry_core::OptionError>(())
    /// ```
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let path = options.text("path")?.filter(|path| !path.is_empty());
        let max_files = options.integer("max_files")?.unwrap_or(5);
        if max_files == 0 {
            return Err(options.error("max_files", "at least 1 file is kept"));
        }
        Ok(Self {
            path: path.ok_or_else(|| options.error("path", "a file is needed"))?.into(),
            max_file_size: options.size("max_file_size")?.unwrap_or(64 << 20),
            max_files,
            sync: options.flag("sync")?.unwrap_or(false),
        })
    }
}
