//! Opens connections, all with the same settings.

use std::time::Duration;

use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};

use crate::config::{Config, Synchronous};

/// The file of the write-ahead log is cut to this size when the log starts over.
pub(crate) const LOG_FILE_SIZE: u64 = 16 << 20;
/// The writer's cache of pages, in kibibytes as SQLite writes it. A batch that changes more pages spills to the disk.
const WRITER_CACHE: &str = "-32768";
/// Each reader's cache of pages. Readers share the operating system's cache of the file.
const READER_CACHE: &str = "-8192";

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Writes. There is one such connection.
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

/// Returns the settings of a connection.
pub(crate) fn options(config: &Config, role: Role) -> SqliteConnectOptions {
    let synchronous = match config.synchronous {
        Synchronous::Normal => SqliteSynchronous::Normal,
        Synchronous::Full => SqliteSynchronous::Full,
    };
    let options = SqliteConnectOptions::new()
        .filename(&config.path)
        .synchronous(synchronous)
        // Our connections never wait for one another. This is for other programs that lock the file for a moment.
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(false)
        .statement_cache_capacity(512)
        // Rows between SQLite's thread and ours: each may be large.
        .row_buffer_size(256)
        .pragma("temp_store", "memory")
        .disable_statement_logging();
    // The test of query plans collects all statements.
    #[cfg(test)]
    let options = options
        .log_statements(log::LevelFilter::Debug)
        .log_slow_statements(log::LevelFilter::Off, Duration::MAX);
    match role {
        Role::Writer => options
            .create_if_missing(true)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            .thread_name(|_| "sqlite-writer".to_owned())
            // Commits must not wait for a checkpoint: another connection makes them.
            .pragma("wal_autocheckpoint", "0")
            .pragma("journal_size_limit", LOG_FILE_SIZE.to_string())
            .pragma("cache_size", WRITER_CACHE),
        Role::Checkpoint => options
            .thread_name(|_| "sqlite-checkpoint".to_owned())
            // A checkpoint that waits for a reader blocks the writer meanwhile: it copies what it can at once.
            .busy_timeout(Duration::ZERO)
            .pragma("wal_autocheckpoint", "0"),
        Role::Reader => options
            .read_only(true)
            .thread_name(|_| "sqlite-reader".to_owned())
            .pragma("query_only", "1")
            .pragma("cache_size", READER_CACHE),
    }
}
