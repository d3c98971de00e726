//! A sink that keeps what it is given, for tests to look at.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use telemetry_core::{Batch, BuiltSink, LogBody, Signal, SignalSet, Sink, SinkError, Span, Written};

/// How long a test waits for what should happen at once.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Keeps every signal; the test holds the other end, a [`Seen`].
///
/// ```
/// use telemetry_testkit::{CaptureSink, Driver, Workload, block_on};
///
/// let (sink, seen) = CaptureSink::new();
/// let signals = Workload::new(1).signals();
/// block_on(Driver::new(sink.built()).write(signals.clone())).unwrap();
/// assert_eq!(seen.signals(), signals);
/// ```
#[derive(Debug)]
pub struct CaptureSink(Seen);

/// What a [`CaptureSink`] or a [`FaultySink`](crate::FaultySink) has taken so far. A cheap clone.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    record: Mutex<Record>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Record {
    signals: Vec<Signal>,
    batches: usize,
    flushes: usize,
    is_shut_down: bool,
}

impl CaptureSink {
    /// A sink, and the handle to what it will have taken.
    pub fn new() -> (Self, Seen) {
        let seen = Seen::default();
        (Self(seen.clone()), seen)
    }

    /// The sink as a build function gives it: interested in everything, with default options.
    pub fn built(self) -> BuiltSink {
        BuiltSink::new(self, SignalSet::ALL)
    }
}

#[async_trait]
impl Sink for CaptureSink {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        self.0.take(batch);
        Ok(batch.delivered())
    }

    async fn flush(&mut self) -> Result<(), SinkError> {
        self.0.note_flush();
        Ok(())
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        self.0.note_shutdown();
        Ok(())
    }
}

impl Seen {
    /// Every signal taken so far, in order.
    pub fn signals(&self) -> Vec<Signal> {
        self.lock().signals.clone()
    }

    /// The messages of the logs taken so far, in order; what most tests ask.
    pub fn messages(&self) -> Vec<String> {
        let text = |signal: &Signal| match signal {
            Signal::Log(log) => match &log.body {
                LogBody::Message { message, .. } => Some(message.to_string()),
                LogBody::SpanEvent { .. } => None,
            },
            _ => None,
        };
        self.lock().signals.iter().filter_map(text).collect()
    }

    /// The spans that ended so far, in order.
    pub fn ended_spans(&self) -> Vec<Arc<Span>> {
        let ended = |signal: &Signal| match signal {
            Signal::SpanEnded(span) => Some(Arc::clone(span)),
            _ => None,
        };
        self.lock().signals.iter().filter_map(ended).collect()
    }

    /// The number of batches taken.
    pub fn batches(&self) -> usize {
        self.lock().batches
    }

    /// How often the sink was flushed.
    pub fn flushes(&self) -> usize {
        self.lock().flushes
    }

    /// Whether the sink was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.lock().is_shut_down
    }

    /// Waits until at least `count` signals are there, and gives all of them.
    ///
    /// # Panics
    ///
    /// After [`DEADLINE`].
    pub fn wait_for(&self, count: usize) -> Vec<Signal> {
        self.wait_until(&format!("{count} signals"), |signals| signals.len() >= count)
    }

    /// Waits until the signals are as wanted, and gives all of them.
    ///
    /// # Panics
    ///
    /// After [`DEADLINE`], with `what` was wanted and how many signals there are.
    pub fn wait_until(&self, what: &str, wanted: impl Fn(&[Signal]) -> bool) -> Vec<Signal> {
        self.wait(what, |record| wanted(&record.signals)).signals.clone()
    }

    /// Waits until the sink has been shut down.
    ///
    /// # Panics
    ///
    /// After [`DEADLINE`].
    pub fn wait_for_shutdown(&self) {
        drop(self.wait("a shutdown", |record| record.is_shut_down));
    }

    fn wait(&self, what: &str, wanted: impl Fn(&Record) -> bool) -> MutexGuard<'_, Record> {
        let waited = self.0.changed.wait_timeout_while(self.lock(), DEADLINE, |record| !wanted(record));
        let (record, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(
            !timeout.timed_out(),
            "not within {DEADLINE:?}: {what}; there are {} signals in {} batches",
            record.signals.len(),
            record.batches
        );
        record
    }

    pub(crate) fn take(&self, batch: &Batch<'_>) {
        self.change(|record| {
            record.signals.extend(batch.iter().cloned());
            record.batches += 1;
        });
    }

    pub(crate) fn note_flush(&self) {
        self.change(|record| record.flushes += 1);
    }

    pub(crate) fn note_shutdown(&self) {
        self.change(|record| record.is_shut_down = true);
    }

    fn change(&self, how: impl FnOnce(&mut Record)) {
        how(&mut self.lock());
        self.0.changed.notify_all();
    }

    // A test that panicked while it looked has changed nothing.
    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
