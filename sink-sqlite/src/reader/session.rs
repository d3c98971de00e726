//! The reader, and the sessions in which it answers queries: a connection for one short read each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};
use telemetry_core::{QueryError, Timestamp};

use crate::config::Config;
use crate::connect::{self, Role};
use crate::error::query_error;
use crate::postings::UnsealedBlocks;
use crate::rows::Services;

/// Answers queries about one file. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Reader(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Arc<Config>,
    service_name: String,
    pool: RwLock<SqlitePool>,
    unsealed_blocks: UnsealedBlocks,
    /// Why the latest write failed. `None` if it succeeded.
    write_error: RwLock<Option<String>>,
}

/// How long a shutdown waits for connections that are in use.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

/// A connection, and what reading spans on it needs.
pub(super) struct Session {
    /// The first field: dropped before the connection returns to the pool.
    _cancel: CancelOnDrop,
    pub(super) db: PoolConnection<Sqlite>,
    pub(super) services: Services,
    /// The time of the query. What expires earlier is not shown.
    pub(super) now: i64,
}

impl Reader {
    /// Returns a reader of the database at `config.path`. It connects when the first query arrives.
    pub(crate) fn new(config: Arc<Config>, service_name: &str, unsealed_blocks: UnsealedBlocks) -> Self {
        Self(Arc::new(Shared {
            pool: RwLock::new(pool(&config)),
            config,
            service_name: service_name.to_owned(),
            unsealed_blocks,
            write_error: RwLock::new(None),
        }))
    }

    /// Replaces all connections, since another file is at the path now.
    pub(crate) fn reopen(&self) {
        let fresh = pool(&self.0.config);
        let old = std::mem::replace(&mut *self.0.pool.write().unwrap_or_else(PoisonError::into_inner), fresh);
        drop(old);
    }

    /// Stores why the latest write failed, or that it did not.
    pub(crate) fn set_write_error(&self, error: Option<String>) {
        *self.0.write_error.write().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// Returns why the latest write failed.
    pub(super) fn write_error(&self) -> Option<String> {
        self.0.write_error.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the name of this program's service.
    pub(super) fn service_name(&self) -> &str {
        &self.0.service_name
    }

    /// Returns the blocks whose postings are not on disk yet.
    pub(super) fn unsealed_blocks(&self) -> &UnsealedBlocks {
        &self.0.unsealed_blocks
    }

    /// Closes all connections. A connection that a runtime took with it when it ended never returns. The shutdown does
    /// not wait for it, since it only reads.
    pub(crate) async fn close(&self) {
        let pool = self.0.pool.read().unwrap_or_else(PoisonError::into_inner).clone();
        if tokio::time::timeout(CLOSE_WITHIN, pool.close()).await.is_err() {
            tracing::debug!("sqlite: a reading connection was still in use at shutdown");
        }
    }

    /// Takes a connection from the pool, for one read.
    pub(super) async fn session(&self) -> Result<Session, QueryError> {
        let pool = self.0.pool.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut db = pool.acquire().await.map_err(query_error)?;
        let cancel = CancelOnDrop::of(&mut db).await.map_err(query_error)?;
        let services = Services::load(&mut db, &self.0.service_name).await.map_err(query_error)?;
        Ok(Session { _cancel: cancel, db, services, now: Timestamp::now().as_nanos() })
    }

    /// Runs one read of a query within the time that queries may take.
    pub(super) async fn within_timeout<T>(
        &self,
        read: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        tokio::time::timeout(self.0.config.query_timeout, read).await.unwrap_or(Err(QueryError::Timeout))
    }
}

fn pool(config: &Config) -> SqlitePool {
    SqlitePoolOptions::new()
        .min_connections(0)
        .max_connections(config.readers)
        .acquire_timeout(config.query_timeout)
        .idle_timeout(Duration::from_secs(60))
        .test_before_acquire(false)
        .connect_lazy_with(connect::options(config, Role::Reader))
}

/// Instructions of SQLite's virtual machine after which it checks for a cancellation: several times per millisecond.
const INSTRUCTIONS: i32 = 5_000;

/// Cancels the statements of a connection when it is dropped: the client has gone, or the query took too long.
///
/// Dropping a future does not stop a statement that runs on SQLite's thread.
#[derive(Debug)]
struct CancelOnDrop(Arc<AtomicBool>);

impl CancelOnDrop {
    /// Waits until the statement of an earlier session has ended. From then on, statements belong to this session.
    async fn of(db: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let is_cancelled = Arc::clone(&cancelled);
        let mut handle = db.lock_handle().await?;
        handle.set_progress_handler(INSTRUCTIONS, move || !is_cancelled.load(Ordering::Relaxed));
        Ok(Self(cancelled))
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
