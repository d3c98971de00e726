//! Options of the sink.

use std::path::PathBuf;

use telemetry_core::{Key, KeyKind, OptionError, Options};

/// The sink's options. Error messages, `telemetry sinks` and the tests of the contract read this table.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "path",
        kind: KeyKind::Path,
        flat: None,
        default: Some("~/.llama/runtime/telemetry.ndjson"),
        help: "the file to append to; it and its folder are created if missing",
    },
    Key {
        name: "max_file_size",
        kind: KeyKind::Size,
        flat: None,
        default: Some("64MiB"),
        help: "size at which a new file is started; a batch is never split",
    },
    Key {
        name: "max_files",
        kind: KeyKind::Integer,
        flat: None,
        default: Some("5"),
        help: "number of files to keep, including the current one",
    },
    Key {
        name: "sync",
        kind: KeyKind::Flag,
        flat: None,
        default: Some("false"),
        help: "if true, a batch counts as delivered only once it is on the disk",
    },
];

/// The checked options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file to append to.
    pub path: PathBuf,
    /// Size in bytes at which a new file is started.
    pub max_file_size: u64,
    /// Number of files to keep, at least 1.
    pub max_files: u32,
    /// True if every batch waits for the disk.
    pub sync: bool,
}

impl Config {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// An [`OptionError`] that names the first invalid value.
    ///
    /// ```
    /// use sink_ndjson::Config;
    /// use telemetry_core::{OptionValue, Options};
    ///
    /// let options = Options::from_pairs([("path", OptionValue::Text("/tmp/t.ndjson".into()))]);
    /// assert_eq!(Config::from_options(&options)?.max_files, 5);
    /// let error = Config::from_options(&Options::default()).unwrap_err();
    /// assert_eq!(error.to_string(), "path: the path of a file is required");
    /// # Ok::<(), telemetry_core::OptionError>(())
    /// ```
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let path = options.text("path")?.filter(|path| !path.is_empty());
        let max_files = options.integer("max_files")?.unwrap_or(5);
        if max_files == 0 {
            return Err(options.error("max_files", "must be at least 1"));
        }
        Ok(Self {
            path: path.ok_or_else(|| options.error("path", "the path of a file is required"))?.into(),
            max_file_size: options.size("max_file_size")?.unwrap_or(64 << 20),
            max_files,
            sync: options.flag("sync")?.unwrap_or(false),
        })
    }
}
