//! A sink that keeps every signal it receives, so that a test can look at them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use telemetry_core::{Batch, BuiltSink, LogBody, Signal, SignalSet, Sink, SinkError, Span, Written};

/// How long a test waits at most for something that should happen at once.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Keeps every signal. The test reads them through a [`Seen`].
///
/// ```
/// use telemetry_core::EventContext;
/// use telemetry_testkit::{CaptureSink, Driver, block_on, signals::log};
///
/// let (sink, seen) = CaptureSink::new();
/// let signals = vec![log(EventContext::None, 0, "hello")];
/// block_on(Driver::new(sink.built()).write(signals.clone())).unwrap();
/// assert_eq!(seen.signals(), signals);
/// ```
#[derive(Debug)]
pub struct CaptureSink(Seen);

/// Shows what a [`CaptureSink`] or a [`FaultySink`](crate::FaultySink) has received. Clones are cheap.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    signals: Vec<Signal>,
    batches: usize,
    flushes: usize,
    is_shut_down: bool,
}

impl CaptureSink {
    /// Returns a sink, and the handle that shows what the sink receives.
    pub fn new() -> (Self, Seen) {
        let seen = Seen::default();
        (Self(seen.clone()), seen)
    }

    /// Returns the sink as a build function does: interested in every signal, with default options.
    pub fn built(self) -> BuiltSink {
        BuiltSink::new(self, SignalSet::ALL)
    }
}

#[async_trait]
impl Sink for CaptureSink {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        self.0.add(batch);
        Ok(batch.delivered())
    }

    async fn flush(&mut self) -> Result<(), SinkError> {
        self.0.count_flush();
        Ok(())
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        self.0.set_shut_down();
        Ok(())
    }
}

impl Seen {
    /// Returns every signal received so far, in order.
    pub fn signals(&self) -> Vec<Signal> {
        self.lock().signals.clone()
    }

    /// Returns the messages of the logs received so far, in order. Span events have none.
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

    /// Returns the spans that have ended so far, in order.
    pub fn ended_spans(&self) -> Vec<Arc<Span>> {
        let ended = |signal: &Signal| match signal {
            Signal::SpanEnded(span) => Some(Arc::clone(span)),
            _ => None,
        };
        self.lock().signals.iter().filter_map(ended).collect()
    }

    /// Returns the number of batches received so far.
    pub fn batches(&self) -> usize {
        self.lock().batches
    }

    /// Returns how often the sink was flushed.
    pub fn flushes(&self) -> usize {
        self.lock().flushes
    }

    /// Returns true if the sink was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.lock().is_shut_down
    }

    /// Waits until at least `count` signals have arrived, and returns all of them.
    ///
    /// # Panics
    ///
    /// After [`DEADLINE`].
    pub fn wait_for(&self, count: usize) -> Vec<Signal> {
        self.wait_until(&format!("{count} signals"), |signals| signals.len() >= count)
    }

    /// Waits until `condition` is true of the signals, and returns all of them.
    ///
    /// # Panics
    ///
    /// After [`DEADLINE`]. The message contains `what` and the number of signals so far.
    pub fn wait_until(&self, what: &str, condition: impl Fn(&[Signal]) -> bool) -> Vec<Signal> {
        self.wait(what, |state| condition(&state.signals)).signals.clone()
    }

    /// Waits until the sink has been shut down.
    ///
    /// # Panics
    ///
    /// After [`DEADLINE`].
    pub fn wait_for_shutdown(&self) {
        drop(self.wait("a shutdown", |state| state.is_shut_down));
    }

    fn wait(&self, what: &str, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.0.changed.wait_timeout_while(self.lock(), DEADLINE, |state| !condition(state));
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(
            !timeout.timed_out(),
            "waited {DEADLINE:?} for {what}: the sink received {} signals in {} batches",
            state.signals.len(),
            state.batches
        );
        state
    }

    pub(crate) fn add(&self, batch: &Batch<'_>) {
        self.change(|state| {
            state.signals.extend(batch.iter().cloned());
            state.batches += 1;
        });
    }

    pub(crate) fn count_flush(&self) {
        self.change(|state| state.flushes += 1);
    }

    pub(crate) fn set_shut_down(&self) {
        self.change(|state| state.is_shut_down = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.0.changed.notify_all();
    }

    // A test that panics while it reads leaves the state as it was, so a poisoned lock is harmless.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
