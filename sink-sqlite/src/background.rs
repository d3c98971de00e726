//! The tasks that change the file beside the sink's own writes: they delete expired data, and index old blocks again.

use std::error::Error;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use tokio::sync::Mutex;

use crate::checkpoint::Checkpointer;
use crate::config::Config;
use crate::connect::{self, Role};
use crate::postings;
use crate::rows::Services;
use crate::writer::Writer;

/// The intended duration of a step of a purge: a write that comes meanwhile waits for its end.
const STEP: Duration = Duration::from_millis(2);
/// Rows deleted per step, at least and at most. Within these limits, as many as [`STEP`] allows.
const ROWS: (i64, i64) = (64, 4_096);

/// Purges every `purge_interval` until it is aborted: step by step, until nothing is left to delete.
pub(crate) async fn purge(writer: Weak<Mutex<Writer>>, config: Arc<Config>, checkpointer: Checkpointer) {
    let mut rows = ROWS.0;
    loop {
        tokio::time::sleep(config.purge_interval).await;
        loop {
            // For one step only: the file is free as soon as the sink drops the writer.
            let Some(writer) = writer.upgrade() else { return };
            let mut locked = writer.lock().await;
            let started = Instant::now();
            let step = locked.purge_step(rows).await;
            let took = started.elapsed();
            drop(locked);
            drop(writer);
            rows = if took > STEP { rows / 2 } else { rows + rows / 8 }.clamp(ROWS.0, ROWS.1);
            match step {
                Ok(true) => {
                    checkpointer.wrote();
                    // Most of the time belongs to the writes.
                    tokio::time::sleep(3 * took).await;
                }
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(
                        error = error.full_text(),
                        "sqlite: deleting expired data failed; the next purge tries again"
                    );
                    break;
                }
            }
        }
    }
}

/// Seals full blocks that are not sealed, or that an earlier version sealed with less in their postings. The newest
/// come first. Ends when no such block is left. Reads on a connection of its own, so that the writer is locked only for
/// the writing.
pub(crate) async fn seal_blocks(writer: Weak<Mutex<Writer>>, config: Arc<Config>, service_name: Arc<str>) {
    loop {
        let started = Instant::now();
        match seal_one(&writer, &config, &service_name).await {
            // At most half of the time.
            Ok(true) => tokio::time::sleep(started.elapsed()).await,
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(
                    error = &*error,
                    "sqlite: indexing the spans of an earlier version failed; queries read them all until the next \
                     start tries again"
                );
                return;
            }
        }
    }
}

/// Seals one block. Returns true if there was one.
async fn seal_one(
    writer: &Weak<Mutex<Writer>>,
    config: &Config,
    service_name: &str,
) -> Result<bool, Box<dyn Error + Send + Sync>> {
    let mut db = connect::open(config, Role::Reader).await?;
    let services = Services::load(&mut db, service_name).await?;
    let next = postings::next_to_seal(&mut db, &services, service_name).await?;
    db.close().await?;
    let (Some((block, tokens)), Some(writer)) = (next, writer.upgrade()) else { return Ok(false) };
    writer.lock().await.seal(block, tokens).await?;
    Ok(true)
}
