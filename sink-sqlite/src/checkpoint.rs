//! Copies the write-ahead log into the database, on a connection of its own: on the writer's connection, checkpoints
//! would make some commits ten times slower.
//!
//! SQLite starts the log over when a write begins and all of the log is copied. While writes follow one another
//! without a pause, that moment never comes by itself. When the log is larger than [`LARGEST`], the writer therefore
//! copies the rest, which is what was written during the latest copying here. Then the log starts over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sqlx::SqliteConnection;
use tokio::sync::Notify;

use crate::config::Config;
use crate::connect::{self, LOG_FILE_SIZE, Role};
use crate::files::log_size;
use crate::rows::read_row;

/// The log is copied when it is larger than this, or when nothing was written for a while. A log file that was cut to
/// its normal size and is larger now has as much to copy.
const LARGE: u64 = LOG_FILE_SIZE;
/// The log grows to about this size at most, unless a reader still needs it.
const LARGEST: u64 = 64 << 20;
/// A pause in writing after which the log is copied and emptied.
const PAUSE: Duration = Duration::from_secs(1);
/// From this size on, a log that a reader still needs is reported. It is reported again at each doubling.
const REPORTED: u64 = 64 << 20;

/// Starts checkpoints when something was written.
#[derive(Clone, Debug)]
pub(crate) struct Checkpointer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Arc<Config>,
    dirty: AtomicBool,
    large: Notify,
    /// The size of the log at which the writer copies it next.
    writer_copies_at: AtomicU64,
}

impl Checkpointer {
    /// Returns a checkpointer for a database. [`run`] makes its checkpoints.
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self(Arc::new(Shared {
            config,
            dirty: AtomicBool::new(false),
            large: Notify::new(),
            writer_copies_at: AtomicU64::new(LARGEST),
        }))
    }

    /// Notes that a transaction was committed.
    pub(crate) fn wrote(&self) {
        self.0.dirty.store(true, Ordering::Relaxed);
        if self.log_size() > LARGE {
            self.0.large.notify_one();
        }
    }

    /// Copies what is left of the log on the writer's connection, if the log is too large. The log starts over with
    /// the next write. If a reader still needs the log, the next try is when it has grown.
    pub(crate) async fn bound_log(&self, writer: &mut SqliteConnection) {
        let bytes = self.log_size();
        if bytes < self.0.writer_copies_at.load(Ordering::Relaxed) {
            return;
        }
        let is_copied = copy(writer, Mode::Passive).await.is_ok_and(|copied| copied.is_complete());
        self.0.writer_copies_at.store(if is_copied { LARGEST } else { bytes + LARGE / 4 }, Ordering::Relaxed);
    }

    fn log_size(&self) -> u64 {
        log_size(&self.0.config.path)
    }
}

/// Makes checkpoints until it is aborted.
pub(crate) async fn run(checkpointer: Checkpointer) {
    let config = &checkpointer.0.config;
    let mut db = None;
    // True until the log is known to be empty.
    let mut pending = false;
    let mut report_at = REPORTED;
    // Pages that the checkpoint before copied, if it could not copy all.
    let mut copied_before = None;
    loop {
        let idle = tokio::time::timeout(PAUSE, checkpointer.0.large.notified()).await.is_err();
        pending |= checkpointer.0.dirty.swap(false, Ordering::Relaxed);
        if !pending {
            continue;
        }
        if db.is_none() {
            db = connect::open(config, Role::Checkpoint).await.ok();
        }
        let Some(open) = &mut db else { continue };
        match copy(open, if idle { Mode::Truncate } else { Mode::Passive }).await {
            Ok(copied) if copied.is_complete() => {
                (copied_before, report_at) = (None, REPORTED);
                pending = !idle;
            }
            Ok(Copied { pages, .. }) => {
                let bytes = checkpointer.log_size();
                if bytes >= report_at && copied_before == Some(pages) {
                    report_at = bytes.saturating_mul(2);
                    tracing::warn!(
                        bytes,
                        path = %config.path.display(),
                        "the write-ahead log grows: another program reads the database in a long transaction; \
                         end that transaction"
                    );
                }
                copied_before = Some(pages);
            }
            Err(error) => {
                tracing::debug!(error = %error, "sqlite: a checkpoint failed; the log stays until the next one");
                db = None;
            }
        }
    }
}

/// What a checkpoint does besides copying.
#[derive(Clone, Copy)]
enum Mode {
    /// Nothing.
    Passive,
    /// Empties the log file.
    Truncate,
}

/// How much of the log is copied now: at most what every reader sees already.
struct Copied {
    pages: i64,
    of: i64,
}

impl Copied {
    const fn is_complete(&self) -> bool {
        self.pages >= self.of
    }
}

/// Copies what no reader needs any more.
async fn copy(db: &mut SqliteConnection, mode: Mode) -> Result<Copied, sqlx::Error> {
    let sql = match mode {
        Mode::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Mode::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    let row = sqlx::query(sql).fetch_one(db).await?;
    let (busy, of, pages): (bool, i64, i64) = read_row(&row)?;
    // Busy although all is copied: a reader still reads from the log, so it can't be emptied.
    Ok(Copied { pages, of: if busy { of.max(pages + 1) } else { of } })
}
