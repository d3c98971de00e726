//! Errors when a database is opened, and how SQLite's errors become errors of sinks and queries.

use std::path::{Path, PathBuf};

use telemetry_core::{QueryError, SinkError};
use telemetry_files::LockError;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder of the database can't be created.
    #[error("can't create the folder `{}` of the database", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// There is no file.
    #[error("there is no database at `{}`; `telemetry serve` creates one", path.display())]
    Missing {
        /// The database.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// Another program writes the database.
    #[error("another program writes `{}`; stop it, or choose another path with `sqlite_db_path`", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
        /// Names the process, if it is known.
        source: LockError,
    },
    /// The file can't be created, or can't be locked.
    #[error("can't create or lock `{}`", path.display())]
    Lock {
        /// The database.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A later version of this program wrote the database.
    #[error(
        "`{}` has schema version {found}, this program knows versions up to {known}; upgrade the program",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// The schema version of the database.
        found: i64,
        /// The latest schema version that this program knows.
        known: i64,
    },
    /// Another program created the file.
    #[error("`{}` is not a telemetry database{hint}", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
        /// Which program, and what to do.
        hint: &'static str,
    },
    /// The file is damaged.
    #[error(
        "`{}` is damaged or not an SQLite database; move it away to start with an empty one, or recover it with `sqlite3 {} .recover`",
        path.display(), path.display()
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// The error of SQLite.
        source: sqlx::Error,
    },
    /// The database can't be read or written now.
    #[error("can't open the database `{}`", path.display())]
    Unavailable {
        /// The database.
        path: PathBuf,
        /// The error of SQLite.
        source: sqlx::Error,
    },
}

impl OpenError {
    /// Returns the error for a database that SQLite can't open.
    pub(crate) fn from_sqlx(path: &Path, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        if is_corrupt(&source) { Self::Corrupt { path, source } } else { Self::Unavailable { path, source } }
    }
}

/// Returns SQLite's primary result code, see <https://sqlite.org/rescode.html>.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?.parse::<i32>().ok()?;
    Some(code & 0xff)
}

/// Returns true for `SQLITE_CORRUPT` and `SQLITE_NOTADB`.
fn is_corrupt(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(11 | 26))
}

/// Returns the error of a failed write. A full or failing disk and another program's lock may pass, so the write is
/// tried again. A damaged file closes the sink. A batch that violates the schema is rejected.
pub(crate) fn write_error(path: &Path, error: sqlx::Error) -> SinkError {
    let sink_error = match primary_code(&error) {
        Some(11 | 26) => SinkError::close(
            "the database is damaged; stop the program, then move the file away or recover it with `sqlite3 FILE .recover`",
        ),
        // A stored row that the batch touches can't be read. Trying again reads the same row.
        None if matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => {
            SinkError::reject(
                "a stored row that the batch changes can't be read; `telemetry doctor` checks the file",
            )
        }
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH
        Some(18..=20) => SinkError::reject("the database can't store the batch"),
        _ => SinkError::retry("the database can't be written now"),
    };
    sink_error.with("path", path.display()).source(error)
}

/// Returns the error of a failed query.
pub(crate) fn query_error(error: sqlx::Error) -> QueryError {
    match &error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => QueryError::Corrupt(Box::new(error)),
        _ if is_corrupt(&error) => QueryError::Corrupt(Box::new(error)),
        // All connections are busy with long queries.
        sqlx::Error::PoolTimedOut => QueryError::Timeout,
        _ => QueryError::Unavailable(Box::new(error)),
    }
}
