//! The sink: the writer, the reader, and the tasks beside them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use telemetry_core::{
    Batch, BoxFuture, BuiltSink, SignalSet, Sink, SinkContext, SinkEntry, SinkError, SinkOptions, Written,
};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::background;
use crate::checkpoint::{self, Checkpointer};
use crate::config::{Config, KEYS};
use crate::error::OpenError;
use crate::reader::Reader;
use crate::writer::Writer;

/// Describes the sink `sqlite`.
pub static ENTRY: SinkEntry = SinkEntry {
    name: "sqlite",
    summary: "stores everything durably in one local file and answers queries about it",
    keys: KEYS,
    build,
};

/// The sink.
#[derive(Debug)]
struct SqliteSink {
    writer: Arc<Mutex<Writer>>,
    reader: Reader,
    checkpointer: Checkpointer,
    tasks: [JoinHandle<()>; 3],
    reopened: u64,
}

/// Checks the options, as building the sink does. Opens nothing.
///
/// # Errors
///
/// Returns the [`SinkError`] that building would return for the first invalid option.
pub fn check(context: &SinkContext) -> Result<(), SinkError> {
    config(context).map(drop)
}

fn config(context: &SinkContext) -> Result<Config, SinkError> {
    Config::from_options(&context.options)
        .map_err(|error| SinkError::close("the options of the sink `sqlite` are invalid").source(error))
}

fn build(context: &SinkContext) -> BoxFuture<'_, Result<BuiltSink, SinkError>> {
    Box::pin(async move { open(config(context)?, &context.service_name).await })
}

/// Opens the database at `config.path` for writing. Returns the sink with its store.
///
/// # Errors
///
/// Returns a [`SinkError`] with an [`OpenError`] as its source if another program writes the file, if the file is
/// damaged, newer or another program's, or if the path can't be written.
pub async fn open(config: Config, service_name: &str) -> Result<BuiltSink, SinkError> {
    let failed = |error: OpenError| SinkError::close("can't open the database").source(error);
    let (config, lock) = Writer::create_and_lock(config).map_err(failed)?;
    let config = Arc::new(config);
    let mut writer = Writer::open(Arc::clone(&config), lock, service_name).await.map_err(failed)?;
    let recovered = writer.recover().await.map_err(failed)?;
    let reader = Reader::new(Arc::clone(&config), service_name, writer.unsealed_blocks());
    let writer = Arc::new(Mutex::new(writer));
    let checkpointer = Checkpointer::new(Arc::clone(&config));
    let tasks = [
        tokio::spawn(checkpoint::run(checkpointer.clone())),
        tokio::spawn(background::purge(Arc::downgrade(&writer), Arc::clone(&config), checkpointer.clone())),
        tokio::spawn(background::seal_blocks(
            Arc::downgrade(&writer),
            Arc::clone(&config),
            service_name.into(),
        )),
    ];
    let store = Arc::new(reader.clone());
    let sink = SqliteSink { writer, reader, checkpointer, tasks, reopened: 0 };
    // No time limit: a cancelled statement would run on and block the next. Slow commits are reported instead.
    let options = SinkOptions { write_timeout: None, queue_bytes: 64 << 20, ..SinkOptions::default() };
    Ok(BuiltSink::new(sink, SignalSet::ALL)
        .with_store(store)
        .with_recovered(recovered)
        .with_options(options)
        .without_span_events())
}

/// A commit that takes longer is reported.
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
        self.reader.set_write_error(outcome.as_ref().err().map(SinkError::full_text));
        self.checkpointer.wrote();
        if started.elapsed() > SLOW {
            let seconds = started.elapsed().as_secs();
            tracing::warn!(
                seconds,
                signals = batch.len(),
                "sqlite: a commit took long; the disk may be slow or busy"
            );
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
