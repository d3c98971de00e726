//! SQLite's errors, in the words of the sink contract.

use std::path::{Path, PathBuf};

use telemetry_core::{QueryError, SinkError};

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Its folder can't be made.
    #[error("can't create the folder `{}` of the database", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It is not there.
    #[error("there is no database at `{}`; `telemetry serve` makes one", path.display())]
    Missing {
        /// The database.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another process writes it.
    #[error(
        "another program{holder} writes `{}`; stop it, or choose another path with `sqlite_db_path`",
        path.display()
    )]
    Locked {
        /// The database.
        path: PathBuf,
        /// ` (process 123)`, if known.
        holder: String,
    },
    /// The lock file can't be written.
    #[error("can't write the lock file beside `{}`", path.display())]
    Lock {
        /// The database.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A later version of this program wrote it.
    #[error(
        "`{}` has schema version {found}, this program knows versions up to {known}; upgrade the program",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The latest version this program knows.
        known: i64,
    },
    /// Another program wrote it.
    #[error("`{}` is not a telemetry database{hint}", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
        /// Whose it is, and the way out.
        hint: &'static str,
    },
    /// It is damaged.
    #[error(
        "`{}` is damaged or no SQLite database; move it away to start anew, or recover it with `sqlite3 {} .recover`",
        path.display(), path.display()
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// It can't be read or written now.
    #[error("can't open the database `{}`", path.display())]
    Unavailable {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
}

impl OpenError {
    pub(crate) fn from_sqlx(path: &Path, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        if is_corrupt(&source) { Self::Corrupt { path, source } } else { Self::Unavailable { path, source } }
    }
}

/// The primary result code, <https://sqlite.org/rescode.html>.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?.parse::<i32>().ok()?;
    Some(code & 0xff)
}

/// SQLITE_CORRUPT or SQLITE_NOTADB.
fn is_corrupt(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(11 | 26))
}

/// A failed write: a full or failing disk and a foreign lock may pass, a damaged file ends the sink,
/// anything else is this batch's own fault.
pub(crate) fn write_error(path: &Path, error: sqlx::Error) -> SinkError {
    let sink_error = match primary_code(&error) {
        Some(11 | 26) => SinkError::close(
            "the database is damaged; stop the program and move the file away, or recover it with `sqlite3 FILE .recover`",
        ),
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH
        Some(18..=20) => SinkError::reject("the database refused the batch"),
        _ => SinkError::retry("the database can't store now"),
    };
    sink_error.with("path", path.display()).source(error)
}

/// A failed query.
pub(crate) fn query_error(error: sqlx::Error) -> QueryError {
    match &error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => QueryError::Corrupt(Box::new(error)),
        _ if is_corrupt(&error) => QueryError::Corrupt(Box::new(error)),
        // All connections are busy with queries that take long.
        sqlx::Error::PoolTimedOut => QueryError::Timeout,
        _ => QueryError::Unavailable(Box::new(error)),
    }
}
