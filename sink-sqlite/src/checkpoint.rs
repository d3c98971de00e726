//! Copies the write-ahead log into the database, on a connection of its own: on the writer's it would
//! make some commits ten times slower.
//!
//! SQLite starts the log over when a write begins and all of it is copied. Where writes follow one another without a
//! pause that moment never comes by itself: beyond [`BOUND`] the writer copies the rest, which is what was written
//! during the last copying here, and the log ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sqlx::{Row as _, SqliteConnection};
use tokio::sync::Notify;

use crate::Config;
use crate::connect::{self, Role};

/// The log is copied when it is larger than this, or when nothing was written for a while. Its file is cut to this
/// size when the log starts over: a file that is larger has as much in it.
pub(crate) const LARGE: u64 = 16 << 20;
/// The log is at most about this large, unless a reader holds it.
const BOUND: u64 = 64 << 20;
/// How long nothing must be written.
const PAUSE: Duration = Duration::from_secs(1);
/// From this size on, a log that a reader keeps from being copied is worth a line; again at each doubling.
const HELD: u64 = 64 << 20;

/// Tells the checkpoint task that something was written.
#[derive(Clone, Debug)]
pub(crate) struct Checkpointer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Arc<Config>,
    dirty: AtomicBool,
    large: Notify,
    /// The size of the log from which on the writer copies it next.
    bound: AtomicU64,
}

impl Checkpointer {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self(Arc::new(Shared {
            config,
            dirty: AtomicBool::new(false),
            large: Notify::new(),
            bound: AtomicU64::new(BOUND),
        }))
    }

    /// A batch was committed.
    pub(crate) fn wrote(&self) {
        self.0.dirty.store(true, Ordering::Relaxed);
        if self.log_size() > LARGE {
            self.0.large.notify_one();
        }
    }

    /// Copies what is left to be copied, on the writer's connection, if the log is too large: it starts over with
    /// the next write. Where a reader holds it, the next try is when it has grown.
    pub(crate) async fn bound(&self, writer: &mut SqliteConnection) {
        let bytes = self.log_size();
        if bytes < self.0.bound.load(Ordering::Relaxed) {
            return;
        }
        let is_copied = copy(writer, false).await.is_ok_and(|Copied { pages, of }| pages == of);
        self.0.bound.store(if is_copied { BOUND } else { bytes + LARGE / 4 }, Ordering::Relaxed);
    }

    /// Bytes of the write-ahead log.
    fn log_size(&self) -> u64 {
        crate::doctor::log_size(&self.0.config.path)
    }
}

/// Runs until aborted.
pub(crate) async fn run(checkpointer: Checkpointer) {
    let mut db = None;
    // Until the log is known to be empty.
    let mut pending = false;
    let mut next_line = HELD;
    // Pages that the checkpoint before had copied, where it could not copy all.
    let mut before = None;
    loop {
        let idle = tokio::time::timeout(PAUSE, checkpointer.0.large.notified()).await.is_err();
        pending |= checkpointer.0.dirty.swap(false, Ordering::Relaxed);
        if !pending {
            continue;
        }
        if db.is_none() {
            db = connect::open(&checkpointer.0.config, Role::Checkpoint).await.ok();
        }
        let Some(open) = &mut db else { continue };
        match copy(open, idle).await {
            Ok(Copied { pages, of }) if pages < of => {
                let bytes = checkpointer.log_size();
                if bytes >= next_line && before == Some(pages) {
                    next_line = bytes.saturating_mul(2);
                    tracing::warn!(
                        bytes,
                        path = %checkpointer.0.config.path.display(),
                        "the write-ahead log grows: a program has been reading the database for long; \
                         end its transaction"
                    );
                }
                before = Some(pages);
            }
            Ok(_) => {
                (before, next_line) = (None, HELD);
                pending = !idle;
            }
            Err(error) => {
                tracing::debug!(error = %error, "a checkpoint failed; the log is kept");
                db = None;
            }
        }
    }
}

/// How much of the log is copied now: not more than what every reader has in sight.
struct Copied {
    pages: i64,
    of: i64,
}

/// Copies what no reader needs any more; when idle, also gives the log's space back.
async fn copy(db: &mut SqliteConnection, idle: bool) -> Result<Copied, sqlx::Error> {
    let sql = if idle { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(PASSIVE)" };
    let row = sqlx::query(sql).fetch_one(db).await?;
    let (busy, of, pages): (bool, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    // Busy although all is copied: a reader still reads from the log, so it can't be emptied.
    Ok(Copied { pages, of: if busy { of.max(pages + 1) } else { of } })
}
