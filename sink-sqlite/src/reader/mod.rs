//! Answers queries, on connections that only read.
//!
//! A page of an answer is one short read; nothing is held between pages, so a slow client pins
//! neither the write-ahead log nor a connection.

mod events;
mod interrupt;
mod marks;
mod matching;
mod metrics;
mod order;
mod spans;
mod store;
mod traces;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Sqlite, SqlitePool};
use telemetry_core::{QueryError, Timestamp};

use crate::Config;
use crate::connect::{self, Role};
use crate::error::query_error;
use crate::postings::OpenBlocks;
use crate::services::Services;

use interrupt::Interrupt;

/// Answers queries about one file. A cheap clone.
#[derive(Clone, Debug)]
pub(crate) struct Reader(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Arc<Config>,
    service_name: String,
    pool: RwLock<SqlitePool>,
    open_blocks: OpenBlocks,
    /// Why the latest write failed; `None` when it did not.
    trouble: RwLock<Option<String>>,
}

/// How long a shutdown waits for connections that are answering.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

/// A connection and what it takes to read spans with it.
struct Session {
    /// First: dropped before the connection goes back.
    _interrupt: Interrupt,
    db: PoolConnection<Sqlite>,
    services: Services,
    now: i64,
}

impl Reader {
    pub(crate) fn new(config: Arc<Config>, service_name: &str, open_blocks: OpenBlocks) -> Self {
        let pool = RwLock::new(pool(&config));
        let service_name = service_name.to_owned();
        Self(Arc::new(Shared { config, service_name, pool, open_blocks, trouble: RwLock::new(None) }))
    }

    /// Reads the file that is at the path now: another one than before.
    pub(crate) fn reopen(&self) {
        let fresh = pool(&self.0.config);
        let old = std::mem::replace(&mut *self.0.pool.write().unwrap_or_else(PoisonError::into_inner), fresh);
        drop(old);
    }

    /// Remembers how the latest write went.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *self.0.trouble.write().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn trouble(&self) -> Option<String> {
        self.0.trouble.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes all connections. One that was lent to a runtime which has ended never comes back: it is
    /// not waited for, as it only reads.
    pub(crate) async fn close(&self) {
        let pool = self.0.pool.read().unwrap_or_else(PoisonError::into_inner).clone();
        if tokio::time::timeout(CLOSE_WITHIN, pool.close()).await.is_err() {
            tracing::debug!("a reading connection was not given back");
        }
    }

    async fn session(&self) -> Result<Session, QueryError> {
        let pool = self.0.pool.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut db = pool.acquire().await.map_err(query_error)?;
        let interrupt = Interrupt::of(&mut db).await.map_err(query_error)?;
        let services = Services::load(&mut db, &self.0.service_name).await.map_err(query_error)?;
        Ok(Session { _interrupt: interrupt, db, services, now: Timestamp::now().as_nanos() })
    }

    /// Runs one step of a query within the time allowed.
    async fn within<T>(&self, step: impl Future<Output = Result<T, QueryError>>) -> Result<T, QueryError> {
        tokio::time::timeout(self.0.config.query_timeout, step).await.unwrap_or(Err(QueryError::Timeout))
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
