//! Plays the worker: what a test needs to drive a sink without a pipeline.

use std::sync::Arc;

use telemetry_core::{
    Batch, BatchId, BuiltSink, Chunk, RunId, Signal, SignalSet, Sink, SinkError, TraceStore, Written,
};

/// Offers batches to a sink as a pipeline's worker does: numbered, and filtered by the interest the
/// sink gave when it was built.
///
/// ```
/// use telemetry_testkit::{CaptureSink, Driver, Workload, block_on};
///
/// let (sink, seen) = CaptureSink::new();
/// let mut driver = Driver::new(sink.built());
/// block_on(async {
///     driver.write(Workload::new(7).signals()).await?;
///     driver.flush().await?;
///     driver.shutdown().await
/// })?;
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
    /// Drives a sink that was built, in run 1.
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

    /// Numbers batches as another run of the program.
    #[must_use]
    pub fn in_run(mut self, run: RunId) -> Self {
        self.run = run;
        self
    }

    /// The signals the sink wants.
    pub const fn interest(&self) -> SignalSet {
        self.interest
    }

    /// The store the sink gave, if it gave one.
    pub fn store(&self) -> Option<Arc<dyn TraceStore>> {
        self.store.clone()
    }

    /// Offers a new batch, one chunk of these signals.
    ///
    /// # Errors
    ///
    /// What the sink answers.
    pub async fn write(&mut self, signals: Vec<Signal>) -> Result<Written, SinkError> {
        self.write_chunks(vec![Arc::new(Chunk::new(signals))]).await
    }

    /// Offers a new batch of these chunks.
    ///
    /// # Errors
    ///
    /// What the sink answers.
    pub async fn write_chunks(&mut self, chunks: Vec<Arc<Chunk>>) -> Result<Written, SinkError> {
        self.number += 1;
        self.chunks = chunks;
        self.skip = 0;
        self.offer().await
    }

    /// Offers the latest batch again, without the signals that the sink said it had stored.
    ///
    /// # Errors
    ///
    /// What the sink answers.
    pub async fn write_again(&mut self) -> Result<Written, SinkError> {
        self.offer().await
    }

    async fn offer(&mut self) -> Result<Written, SinkError> {
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
    /// What the sink answers.
    pub async fn flush(&mut self) -> Result<(), SinkError> {
        self.sink.flush().await
    }

    /// Shuts the sink down.
    ///
    /// # Errors
    ///
    /// What the sink answers.
    pub async fn shutdown(self) -> Result<(), SinkError> {
        self.sink.shutdown().await
    }
}

/// Runs a future to its end as a sink's thread does: on a current-thread runtime of its own.
///
/// # Panics
///
/// When no runtime can be had.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a current-thread runtime needs no thread").block_on(future)
}
