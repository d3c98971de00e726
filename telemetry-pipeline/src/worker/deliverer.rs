//! Calls the sink, retries, and counts the results.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use telemetry_core::{Action, Batch, BatchId, SignalSet, Sink, SinkError, SinkOptions, Written};
use tokio::time::Instant;

use super::batch::{BatchOutcome, PendingBatch};
use crate::accounting::{SinkCounters, SinkState};
use crate::catch_panic::{CatchPanic, catch_panic};
use crate::deadline::GiveUpAt;

/// First wait before a retry. It is doubled each time.
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
/// Longest wait before a retry, unless the destination asked for a longer one.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);
/// The wait if the destination asked for a time that no clock can represent.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// Owns the sink.
pub(super) struct Deliverer {
    /// `None` once it has ended.
    sink: Option<Box<dyn Sink>>,
    is_store: bool,
    interest: SignalSet,
    options: SinkOptions,
    counters: Arc<SinkCounters>,
    give_up_at: GiveUpAt,
}

/// How a call of the sink ended.
enum CallOutcome<T> {
    Done(Result<T, Failure>),
    TimedOut(Duration),
    Panicked(String),
}

/// The parts of a [`SinkError`] that the worker uses. They are read within the guarded call, because
/// formatting and dropping the error may run code of the sink.
struct Failure {
    action: Action,
    stored: usize,
    taken_back: u64,
    text: String,
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Self {
        Self {
            action: error.action(),
            stored: error.stored_signals(),
            taken_back: error.revoked_signals(),
            text: error.full_text(),
        }
    }
}

impl Deliverer {
    pub(super) fn new(
        sink: Box<dyn Sink>,
        is_store: bool,
        interest: SignalSet,
        options: SinkOptions,
        counters: Arc<SinkCounters>,
        give_up_at: GiveUpAt,
    ) -> Self {
        Self { sink: Some(sink), is_store, interest, options, counters, give_up_at }
    }

    /// Returns false once the sink has ended.
    pub(super) fn is_open(&self) -> bool {
        self.sink.is_some()
    }

    /// Offers a batch until it is delivered or has failed, or a shutdown leaves no time. Counts its signals.
    pub(super) async fn deliver(&mut self, id: BatchId, pending: &PendingBatch) -> BatchOutcome {
        let started = Instant::now();
        let mut back_off = FIRST_BACK_OFF;
        let mut has_failed = false;
        loop {
            let batch = Batch::new(id, &pending.chunks, self.interest, pending.settled.get());
            let Some(sink) = &mut self.sink else {
                self.counters.drop_signals(batch.len() as u64, "sink closed");
                return BatchOutcome::Failed;
            };
            let limit = self.options.write_timeout;
            let Failure { action, stored, text, .. } =
                match guarded(limit, async { sink.write(&batch).await }).await {
                    CallOutcome::Done(Ok(written)) => {
                        self.count_written(&batch, &written);
                        if has_failed {
                            tracing::info!(sink = self.counters.name, "the sink delivers again");
                        }
                        // It is not known which submissions a store's rejected signals belong to.
                        let is_kept = !self.is_store || written.rejected == 0;
                        return if is_kept { BatchOutcome::Delivered } else { BatchOutcome::Failed };
                    }
                    CallOutcome::Done(Err(failure)) => failure,
                    CallOutcome::TimedOut(after) => {
                        SinkError::retry(format!("no answer within {after:?}")).into()
                    }
                    CallOutcome::Panicked(text) => {
                        self.counters.fail(batch.len() as u64, "panic");
                        self.end_sink(SinkState::Failed, format!("the sink panicked: {text}"));
                        return BatchOutcome::Failed;
                    }
                };
            let stored = stored.min(batch.len());
            self.counters.deliver(stored as u64);
            pending.settled.set(pending.settled.get() + stored);
            let left = (batch.len() - stored) as u64;
            self.counters.set_error(text.clone());
            match action {
                Action::Reject => {
                    let sink = self.counters.name;
                    tracing::warn!(
                        sink,
                        error = text,
                        signals = left,
                        "the sink rejected a batch; its signals count as failed"
                    );
                    self.counters.fail(left, &text);
                    return BatchOutcome::Failed;
                }
                Action::Close => {
                    self.counters.fail(left, &text);
                    self.end_sink(SinkState::Closed, text);
                    return BatchOutcome::Failed;
                }
                Action::Retry { after } => {
                    if !has_failed {
                        tracing::warn!(
                            sink = self.counters.name,
                            error = text,
                            "the sink can't deliver; its batches wait"
                        );
                        has_failed = true;
                    }
                    if self.options.retry_for.is_some_and(|limit| started.elapsed() >= limit) {
                        self.counters.fail(left, &format!("retries exhausted: {text}"));
                        return BatchOutcome::Failed;
                    }
                    let jitter = rand::rng().random_range(0.5..1.0);
                    let wait = after.unwrap_or_else(|| back_off.mul_f64(jitter));
                    back_off = (back_off * 2).min(LONGEST_BACK_OFF);
                    if !self.wait_to_retry(wait).await {
                        return BatchOutcome::GaveUp;
                    }
                    self.counters.retry();
                }
            }
        }
    }

    fn count_written(&self, batch: &Batch<'_>, written: &Written) {
        let signals = batch.len() as u64;
        let rejected = written.rejected.min(signals);
        self.counters.deliver(signals - rejected);
        if rejected > 0 {
            let reason = written.reason.as_deref().unwrap_or("rejected by the destination");
            self.counters.fail(rejected, reason);
            self.counters.set_error(reason.to_owned());
        }
    }

    /// Waits before a retry. Returns false if a shutdown leaves no time for one.
    async fn wait_to_retry(&mut self, wait: Duration) -> bool {
        let wake_at = Instant::now().checked_add(wait).unwrap_or_else(|| Instant::now() + LONGEST_WAIT);
        loop {
            // During a shutdown the retry comes earlier, because there may be no time later.
            let wake_at = match self.give_up_at.get() {
                Some(deadline) if Instant::now() + FIRST_BACK_OFF >= deadline => return false,
                Some(_) => wake_at.min(Instant::now() + FIRST_BACK_OFF),
                None => wake_at,
            };
            tokio::select! {
                () = tokio::time::sleep_until(wake_at) => return true,
                exists = self.give_up_at.changed() => if !exists { return false },
            }
        }
    }

    /// Flushes the sink, until it is done or a shutdown leaves no time.
    pub(super) async fn flush(&mut self) -> Result<(), String> {
        let Some(sink) = &mut self.sink else { return Err("the sink is closed".to_owned()) };
        let flushed = tokio::select! {
            flushed = guarded(self.options.write_timeout, async { sink.flush().await }) => flushed,
            // The sink flushes again when it is shut down. A store's flush is not cancelled: its statement
            // would run on and block the next one.
            () = self.give_up_at.passed(), if !self.is_store => {
                return Err("the pipeline is shutting down".to_owned());
            }
        };
        match flushed {
            CallOutcome::Done(outcome) => outcome.map_err(|failure| failure.text),
            CallOutcome::TimedOut(after) => Err(format!("no answer within {after:?}")),
            CallOutcome::Panicked(text) => {
                let text = format!("the sink panicked: {text}");
                self.end_sink(SinkState::Failed, text.clone());
                Err(text)
            }
        }
    }

    fn end_sink(&mut self, state: SinkState, error: String) {
        let name = self.counters.name;
        tracing::error!(sink = name, error, "the sink has ended; its signals are dropped and counted");
        self.counters.set_error(error);
        self.counters.set_state(state);
        let sink = self.sink.take();
        if let Err(panic) = catch_panic(|| drop(sink)) {
            tracing::error!(sink = name, panic, "the sink panicked while it was dropped");
        }
    }

    pub(super) async fn shut_down(&mut self) {
        let Some(sink) = self.sink.take() else { return };
        match guarded(None, async { sink.shutdown().await }).await {
            CallOutcome::Done(Ok(())) => self.counters.set_state(SinkState::Closed),
            CallOutcome::Done(Err(failure)) => {
                self.counters.set_state(SinkState::Closed);
                self.counters.take_back(failure.taken_back, &failure.text);
                self.counters.set_error(failure.text);
            }
            CallOutcome::TimedOut(_) => self.counters.set_state(SinkState::Failed),
            CallOutcome::Panicked(text) => {
                self.counters.set_state(SinkState::Failed);
                self.counters.set_error(format!("the sink panicked: {text}"));
            }
        }
    }
}

/// Runs a call of the sink with a time limit, and catches its panic.
async fn guarded<T>(
    limit: Option<Duration>,
    call: impl Future<Output = Result<T, SinkError>>,
) -> CallOutcome<T> {
    let call = CatchPanic::new(async { call.await.map_err(Failure::from) });
    let done = match limit {
        None => call.await,
        Some(limit) => match tokio::time::timeout(limit, call).await {
            Ok(done) => done,
            Err(_) => return CallOutcome::TimedOut(limit),
        },
    };
    match done {
        Ok(result) => CallOutcome::Done(result),
        Err(panic) => CallOutcome::Panicked(panic),
    }
}
