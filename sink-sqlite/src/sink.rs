//! The sink: the writer, and what goes on beside it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use telemetry_core::{
    Batch, BoxFuture, BuiltSink, SignalSet, Sink, SinkContext, SinkEntry, SinkError, SinkOptions, Written,
};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::checkpoint::{self, Checkpointer};
use crate::config::{Config, KEYS};
use crate::error::OpenError;
use crate::purge;
use crate::reader::Reader;
use crate::reindex;
use crate::writer::Writer;

/// Describes the sink `sqlite`.
pub static ENTRY: SinkEntry = SinkEntry {
    name: "sqlite",
    summary: "stores everything durably in one local file and answers queries about it",
    keys: KEYS,
    build,
};

/// Stores signals in one file.
#[derive(Debug)]
struct SqliteSink {
    writer: Arc<Mutex<Writer>>,
    reader: Reader,
    checkpointer: Checkpointer,
    tasks: [JoinHandle<()>; 3],
    reopened: u64,
}

fn build(context: &SinkContext) -> BoxFuture<'_, Result<BuiltSink, SinkError>> {
    Box::pin(async move {
        let config = Config::from_options(&context.options).map_err(|error| {
            SinkError::close("the options of the sqlite sink are not usable").source(error)
        })?;
        open(config, &context.service_name).await
    })
}

/// Opens the database at `config.path` for writing and gives the sink with its store.
///
/// # Errors
///
/// A [`SinkError`] with an [`OpenError`] as its source: another writer, a damaged, foreign or newer
/// file, a path that can't be written.
pub async fn open(config: Config, service_name: &str) -> Result<BuiltSink, SinkError> {
    let config = Arc::new(config);
    let failed = |error: OpenError| SinkError::close("can't open the store").source(error);
    let mut writer = Writer::open(Arc::clone(&config), service_name).await.map_err(failed)?;
    let recovered = writer.recover().await.map_err(failed)?;
    let reader = Reader::new(Arc::clone(&config), service_name, writer.open_blocks());
    let writer = Arc::new(Mutex::new(writer));
    let checkpointer = Checkpointer::new(Arc::clone(&config));
    let tasks = [
        tokio::spawn(checkpoint::run(checkpointer.clone())),
        tokio::spawn(purge::run(Arc::downgrade(&writer), Arc::clone(&config), checkpointer.clone())),
        tokio::spawn(reindex::run(Arc::downgrade(&writer), Arc::clone(&config), service_name.into())),
    ];
    let store = Arc::new(reader.clone());
    let sink = SqliteSink { writer, reader, checkpointer, tasks, reopened: 0 };
    // A cancelled statement would run on and block the next: no time-out, slowness is reported instead.
    let options = SinkOptions { write_timeout: None, queue_bytes: 64 << 20, ..SinkOptions::default() };
    Ok(BuiltSink::new(sink, SignalSet::ALL).with_store(store).with_recovered(recovered).with_options(options))
}

/// A commit that takes longer is worth a line in the log.
const SLOW: Duration = Duration::from_secs(5);

#[async_trait]
impl Sink for SqliteSink {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let started = std::time::Instant::now();
        let mut writer = self.writer.lock().await;
        let outcome = writer.write(batch).await;
        if writer.reopened() != self.reopened {
            self.reopened = writer.reopened();
            self.reader.reopen();
        }
        writer.bound_log(&self.checkpointer).await;
        drop(writer);
        self.reader.set_trouble(outcome.as_ref().err().map(SinkError::full_text));
        self.checkpointer.wrote();
        if started.elapsed() > SLOW {
            let seconds = started.elapsed().as_secs();
            tracing::warn!(seconds, signals = batch.len(), "a commit took long");
        }
        outcome
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.reader.close().await;
        self.writer.lock().await.finish().await
    }
}

impl Drop for SqliteSink {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
