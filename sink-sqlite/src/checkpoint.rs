//! Copies the write-ahead log into the database, on a connection of its own: on the writer's it would
//! make some commits ten times slower.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::SqliteConnection;
use tokio::sync::Notify;

use crate::Config;
use crate::connect::{self, Role};

/// The log is copied when it is this large, or when nothing was written for a while.
const LARGE: u64 = 16 << 20;
/// How long nothing must be written.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells the checkpoint task that something was written.
#[derive(Clone, Debug)]
pub(crate) struct Checkpointer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Arc<Config>,
    dirty: AtomicBool,
    large: Notify,
}

impl Checkpointer {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self(Arc::new(Shared { config, dirty: AtomicBool::new(false), large: Notify::new() }))
    }

    /// A batch was committed.
    pub(crate) fn wrote(&self) {
        self.0.dirty.store(true, Ordering::Relaxed);
        if self.log_size() >= LARGE {
            self.0.large.notify_one();
        }
    }

    /// Bytes of the write-ahead log.
    fn log_size(&self) -> u64 {
        crate::doctor::log_size(&self.0.config.path)
    }
}

/// Runs until aborted.
pub(crate) async fn run(checkpointer: Checkpointer) {
    let mut db = None;
    loop {
        let idle = tokio::time::timeout(PAUSE, checkpointer.0.large.notified()).await.is_err();
        if !checkpointer.0.dirty.swap(false, Ordering::Relaxed) {
            continue;
        }
        if db.is_none() {
            db = connect::open(&checkpointer.0.config, Role::Checkpoint).await.ok();
        }
        let Some(open) = &mut db else { continue };
        if let Err(error) = copy(open, idle).await {
            tracing::debug!(error = %error, "a checkpoint failed; the log is kept");
            db = None;
        }
    }
}

/// Copies what no reader needs any more; when idle, also gives the log's space back.
async fn copy(db: &mut SqliteConnection, idle: bool) -> Result<(), sqlx::Error> {
    let sql = if idle { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(PASSIVE)" };
    sqlx::raw_sql(sql).execute(db).await.map(drop)
}
