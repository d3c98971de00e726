//! What an import reports: its progress, its result, its errors.

use std::path::PathBuf;

use telemetry_core::SinkError;

/// Progress of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportEvent {
    /// The number of rows of spans and their events.
    Total(u64),
    /// The number of rows that are done since the last event of this kind.
    Done(u64),
    /// A row that can't be stored.
    Skipped {
        /// The table that the row is in.
        table: &'static str,
        /// The rowid of the row.
        row: i64,
        /// What is wrong with the row.
        reason: String,
    },
}

/// The result of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Spans that the import stored.
    pub spans: u64,
    /// Logs and span events that the import stored.
    pub logs: u64,
    /// Metric points that the import stored.
    pub metrics: u64,
    /// Rows that were stored before.
    pub already_there: u64,
    /// Rows that can't be stored.
    pub skipped: u64,
}

/// Why an import ended early. What it stored is kept. When it is run again, it continues where it stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file can't be read.
    #[error("can't read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        source: sqlx::Error,
    },
    /// Llama Stack did not write the file.
    #[error("`{}` is not a trace store of Llama Stack: {found}", path.display())]
    NotReference {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: &'static str,
    },
    /// The rows can't be stored.
    #[error("can't store the rows that were read")]
    Store(#[source] SinkError),
}
