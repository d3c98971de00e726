//! The model: an in-memory store that is simple enough to be checked by reading it.

mod contents;
mod queries;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use telemetry_core::{Batch, BatchId, BuiltSink, Signal, SignalSet, Sink, SinkError, Timestamp, Written};

use contents::Contents;

/// The model of a store. Tests compare every other store with it.
///
/// It keeps everything in memory, scans all of it for every query, and lets [`telemetry_core::query`] decide what a
/// query means. Expired things are invisible. [`MemoryStore::set_now`] replaces the wall clock. Clones are cheap and
/// share the contents.
///
/// ```
/// use telemetry_core::{TraceStore as _, query::TraceQuery};
/// use telemetry_testkit::signals::{ended, span};
/// use telemetry_testkit::{MemoryStore, block_on, collect};
///
/// let store = MemoryStore::new("llama-stack");
/// store.store(&[ended(span(1, 1, 0, 10)), ended(span(2, 1, 5, 10))]);
/// let traces = block_on(collect(store.query_traces(TraceQuery::default())))?;
/// assert_eq!(traces.len(), 2);
/// assert!(traces[0].start_time > traces[1].start_time, "newest first");
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
    /// `None` means the wall clock.
    now: Option<Timestamp>,
}

impl MemoryStore {
    /// Creates an empty store for a process of this service.
    pub fn new(service_name: impl Into<String>) -> Self {
        let inner = Inner { contents: Contents::default(), now: None };
        Self(Arc::new(Shared { service_name: service_name.into(), inner: Mutex::new(inner) }))
    }

    /// Returns a sink that writes to this store, as a build function does: interested in every signal, with this store
    /// for queries.
    pub fn built(&self) -> BuiltSink {
        let sink = MemorySink { store: self.clone(), latest: None };
        BuiltSink::new(sink, SignalSet::ALL).with_store(Arc::new(self.clone()))
    }

    /// Stores signals as the sink does.
    pub fn store(&self, signals: &[Signal]) {
        let mut inner = self.lock();
        for signal in signals {
            inner.contents.add(signal);
        }
    }

    /// Stops the clock at this time. What expires at this time or before is invisible.
    pub fn set_now(&self, now: Timestamp) {
        self.lock().now = Some(now);
    }

    /// Marks open spans as unfinished, as a restart of the program does.
    pub fn restart(&self) {
        self.lock().contents.mark_unfinished();
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
    latest: Option<BatchId>,
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
