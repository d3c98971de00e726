//! The model: a store so simple that it is right by reading it.

mod answers;
mod contents;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use telemetry_core::{
    Batch, BuiltSink, Signal, SignalSet, Sink, SinkError, Span, SpanKey, Timestamp, Written,
};

use contents::Contents;

/// Keeps everything in memory, scans all of it for every answer, and leaves the meaning of queries
/// to [`telemetry_core::query`]. Every other store is compared with it.
///
/// What has expired is invisible; [`MemoryStore::set_now`] replaces the wall clock. A cheap clone; all
/// clones are one store.
///
/// ```
/// use telemetry_core::{TraceStore as _, query::TraceQuery};
/// use telemetry_testkit::{MemoryStore, Workload, block_on, store_kit::collect};
///
/// let store = MemoryStore::new("llama-stack");
/// store.store(&Workload { traces: 3, ..Workload::new(1) }.signals());
/// let traces = block_on(collect(store.query_traces(TraceQuery::default())))?;
/// assert_eq!(traces.len(), 3);
/// assert!(traces[0].start_time >= traces[2].start_time, "newest first");
/// # Ok::<(), telemetry_core::QueryError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    service_name: String,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    contents: Contents,
    /// `None`: as the wall clock says.
    now: Option<Timestamp>,
}

impl MemoryStore {
    /// An empty store of a process of this service.
    pub fn new(service_name: impl Into<String>) -> Self {
        let inner = Inner { contents: Contents::default(), now: None };
        Self(Arc::new(Shared { service_name: service_name.into(), inner: Mutex::new(inner) }))
    }

    /// The store as a build function gives a sink: interested in everything, and its own store.
    pub fn built(&self) -> BuiltSink {
        let sink = MemorySink { store: self.clone(), latest: None };
        BuiltSink::new(sink, SignalSet::ALL).with_store(Arc::new(self.clone()))
    }

    /// Stores signals, as the sink does.
    pub fn store(&self, signals: &[Signal]) {
        let mut inner = self.lock();
        for signal in signals {
            inner.contents.add(signal);
        }
    }

    /// Stops the clock at this time: what expires at or before it is gone.
    pub fn set_now(&self, now: Timestamp) {
        self.lock().now = Some(now);
    }

    /// Does what a restart of the program does: spans that are open are unfinished from now on.
    pub fn restart(&self) {
        self.lock().contents.mark_unfinished();
    }

    /// The span, if it has ended.
    pub(crate) fn ended_span(&self, key: SpanKey) -> Option<Span> {
        self.lock().contents.ended_span(key).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        self.now.unwrap_or_else(Timestamp::now)
    }
}

/// Writes to a [`MemoryStore`].
#[derive(Debug)]
struct MemorySink {
    store: MemoryStore,
    latest: Option<telemetry_core::BatchId>,
}

#[async_trait]
impl Sink for MemorySink {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let id = batch.id();
        let is_stored = self.latest.is_some_and(|latest| latest.run == id.run && latest.number >= id.number);
        if !is_stored {
            self.store.store(&batch.iter().cloned().collect::<Vec<_>>());
            self.latest = Some(id);
        }
        Ok(batch.delivered())
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}
