//! Indexes full blocks again that an earlier version indexed in its own way, or that a stop left without an index.

use std::sync::{Arc, Weak};
use std::time::Instant;

use sqlx::Connection as _;
use tokio::sync::Mutex;

use crate::Config;
use crate::connect::{self, Role};
use crate::postings;
use crate::services::Services;
use crate::writer::Writer;

/// Runs until no block is left, the newest first. Reads on a connection of its own: the writer is held for the
/// writing alone, and most of the time belongs to others.
pub(crate) async fn run(writer: Weak<Mutex<Writer>>, config: Arc<Config>, service_name: Arc<str>) {
    loop {
        let started = Instant::now();
        match step(&writer, &config, &service_name).await {
            Ok(true) => tokio::time::sleep(started.elapsed()).await,
            Ok(false) => return,
            Err(error) => {
                // Queries look through the block meanwhile; the next start tries again.
                tracing::warn!(error = &*error, "indexing the spans of an earlier version failed");
                return;
            }
        }
    }
}

/// Indexes a block; says whether there was one.
async fn step(
    writer: &Weak<Mutex<Writer>>,
    config: &Config,
    service_name: &str,
) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let mut db = connect::open(config, Role::Reader).await?;
    let services = Services::load(&mut db, service_name).await?;
    let next = postings::next_to_seal(&mut db, &services, service_name).await?;
    db.close().await?;
    let (Some((block, tokens)), Some(writer)) = (next, writer.upgrade()) else { return Ok(false) };
    writer.lock().await.seal(block, tokens).await?;
    Ok(true)
}
