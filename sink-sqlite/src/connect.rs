//! How connections are opened: the same settings everywhere.

use std::time::Duration;

use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};

use crate::checkpoint::LARGE;
use crate::{Config, Synchronous};

/// Kibibytes of pages, as SQLite writes it, that the writer keeps: what a batch changes is spilled beyond.
const WRITER_CACHE: &str = "-32768";
/// The same of each reader; what they share is the system's cache of the file.
const READER_CACHE: &str = "-8192";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The only one that writes.
    Writer,
    /// Copies the write-ahead log into the database.
    Checkpoint,
    /// Answers queries.
    Reader,
}

/// Opens a connection.
pub(crate) async fn open(config: &Config, role: Role) -> Result<SqliteConnection, sqlx::Error> {
    options(config, role).connect().await
}

/// How a connection is opened.
pub(crate) fn options(config: &Config, role: Role) -> SqliteConnectOptions {
    let synchronous = match config.synchronous {
        Synchronous::Normal => SqliteSynchronous::Normal,
        Synchronous::Full => SqliteSynchronous::Full,
    };
    let options = SqliteConnectOptions::new()
        .filename(&config.path)
        .synchronous(synchronous)
        // Ours never wait for one another: this is for other programs that hold a lock for a moment.
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(false)
        .statement_cache_capacity(512)
        // Rows on their way: each may be large.
        .row_buffer_size(256)
        .pragma("temp_store", "memory")
        .disable_statement_logging();
    match role {
        Role::Writer => options
            .create_if_missing(true)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            .thread_name(|_| "sqlite-writer".to_owned())
            // Checkpoints are made elsewhere, off the path of commits.
            .pragma("wal_autocheckpoint", "0")
            .pragma("journal_size_limit", LARGE.to_string())
            .pragma("cache_size", WRITER_CACHE),
        Role::Checkpoint => options
            .thread_name(|_| "sqlite-checkpoint".to_owned())
            // One that waits for a reader keeps the writer out meanwhile: it takes what it can get.
            .busy_timeout(Duration::ZERO)
            .pragma("wal_autocheckpoint", "0"),
        Role::Reader => options
            .read_only(true)
            .thread_name(|_| "sqlite-reader".to_owned())
            .pragma("query_only", "1")
            .pragma("cache_size", READER_CACHE),
    }
}
