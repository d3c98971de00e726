//! Drives a sink, and reads from a store, without a pipeline.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use telemetry_core::{
    Batch, BatchId, BuiltSink, Chunk, Pages, QueryError, RunId, Signal, SignalSet, Sink, SinkError,
    TraceStore, Written,
};

/// Writes batches to a sink as a pipeline's worker does: numbered, and with only the signals that the sink
/// asked for when it was built.
///
/// ```
/// use telemetry_core::EventContext;
/// use telemetry_testkit::{CaptureSink, Driver, block_on, signals::log};
///
/// let (sink, seen) = CaptureSink::new();
/// let mut driver = Driver::new(sink.built());
/// block_on(async {
///     driver.write(vec![log(EventContext::None, 0, "hello")]).await?;
///     driver.flush().await?;
///     driver.shutdown().await
/// })?;
/// assert_eq!(seen.messages(), ["hello"]);
/// assert!(seen.is_shut_down());
/// # Ok::<(), telemetry_core::SinkError>(())
/// ```
pub struct Driver {
    sink: Box<dyn Sink>,
    interest: SignalSet,
    store: Option<Arc<dyn TraceStore>>,
    run: RunId,
    number: u64,
    chunks: Vec<Arc<Chunk>>,
    skip: usize,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("interest", &self.interest)
            .field("batches", &self.number)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// Creates a driver of a built sink, in run 1.
    pub fn new(built: BuiltSink) -> Self {
        Self {
            sink: built.sink,
            interest: built.interest,
            store: built.store,
            run: RunId(1),
            number: 0,
            chunks: Vec::new(),
            skip: 0,
        }
    }

    /// Numbers the batches as another run of the program would.
    #[must_use]
    pub fn in_run(mut self, run: RunId) -> Self {
        self.run = run;
        self
    }

    /// Returns the kinds of signals that the sink asked for.
    pub const fn interest(&self) -> SignalSet {
        self.interest
    }

    /// Returns the sink's store, if it has one.
    pub fn store(&self) -> Option<Arc<dyn TraceStore>> {
        self.store.clone()
    }

    /// Writes a new batch: one chunk of these signals.
    ///
    /// # Errors
    ///
    /// The sink's error.
    pub async fn write(&mut self, signals: Vec<Signal>) -> Result<Written, SinkError> {
        self.write_chunks(vec![Arc::new(Chunk::new(signals))]).await
    }

    /// Writes a new batch of these chunks.
    ///
    /// # Errors
    ///
    /// The sink's error.
    pub async fn write_chunks(&mut self, chunks: Vec<Arc<Chunk>>) -> Result<Written, SinkError> {
        self.number += 1;
        self.chunks = chunks;
        self.skip = 0;
        self.write_latest().await
    }

    /// Writes the latest batch again, without the signals that the sink has reported as stored.
    ///
    /// # Errors
    ///
    /// The sink's error.
    pub async fn write_again(&mut self) -> Result<Written, SinkError> {
        self.write_latest().await
    }

    async fn write_latest(&mut self) -> Result<Written, SinkError> {
        let id = BatchId { run: self.run, number: self.number };
        let batch = Batch::new(id, &self.chunks, self.interest, self.skip);
        let answer = self.sink.write(&batch).await;
        if let Err(error) = &answer {
            self.skip += error.stored_signals().min(batch.len());
        }
        answer
    }

    /// Flushes the sink.
    ///
    /// # Errors
    ///
    /// The sink's error.
    pub async fn flush(&mut self) -> Result<(), SinkError> {
        self.sink.flush().await
    }

    /// Shuts the sink down.
    ///
    /// # Errors
    ///
    /// The sink's error.
    pub async fn shutdown(self) -> Result<(), SinkError> {
        self.sink.shutdown().await
    }
}

/// Reads all pages of a query's answer.
///
/// # Errors
///
/// The first error among the pages.
pub async fn collect<T>(pages: Pages<T>) -> Result<Vec<T>, QueryError> {
    let pages: Vec<Vec<T>> = pages.try_collect().await?;
    Ok(pages.into_iter().flatten().collect())
}

/// Runs a future to its end on a current-thread runtime of its own, as a sink's thread does.
///
/// # Panics
///
/// When the runtime can't be created.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a current-thread runtime needs no threads").block_on(future)
}
