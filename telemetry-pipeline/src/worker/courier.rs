//! Offers batches to the sink, and counts what becomes of them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use telemetry_core::{Action, Batch, BatchId, SignalSet, Sink, SinkError, SinkOptions, Written};
use tokio::time::Instant;

use crate::contained::{Contained, contained};
use crate::ledger::{SinkCounters, SinkState};
use crate::worker::GiveUpAt;
use crate::worker::work::Load;

/// First wait before a retry; doubled each time.
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
/// Longest wait before a retry that the destination did not ask for.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// Longest wait where what was asked for is beyond all clocks.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// The sink and whoever talks to it.
pub(super) struct Courier {
    /// `None` once it has ended.
    sink: Option<Box<dyn Sink>>,
    is_store: bool,
    interest: SignalSet,
    options: SinkOptions,
    counters: Arc<SinkCounters>,
    give_up_at: GiveUpAt,
}

/// What became of a load. All of it that is not left is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// The sink has it.
    Delivered,
    /// The sink does not want it, or has ended; or a store did not keep all of it.
    Lost,
    /// A shutdown leaves no time; what is left of it is not counted.
    GaveUp,
}

/// How a call of the sink ended.
enum Outcome<T> {
    Done(Result<T, Failure>),
    TimedOut(Duration),
    Panicked(String),
}

/// What the worker keeps of a [`SinkError`]. What an error says and how it is dropped is the sink's code, too.
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

impl Courier {
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

    /// Whether the sink has not ended.
    pub(super) fn is_open(&self) -> bool {
        self.sink.is_some()
    }

    /// Offers a load until it is delivered or lost; says which, and counts it.
    pub(super) async fn try_until_settled(&mut self, id: BatchId, load: &Load) -> Settled {
        let started = Instant::now();
        let mut back_off = FIRST_BACK_OFF;
        let mut troubled = false;
        loop {
            let batch = Batch::new(id, &load.chunks, self.interest, load.settled.get());
            let Some(sink) = &mut self.sink else {
                self.counters.drop_signals(batch.len(), "sink closed");
                return Settled::Lost;
            };
            let limit = self.options.write_timeout;
            let Failure { action, stored, text, .. } =
                match guarded(limit, async { sink.write(&batch).await }).await {
                    Outcome::Done(Ok(written)) => {
                        self.settle(&batch, &written);
                        if troubled {
                            tracing::info!(sink = self.counters.name, "the sink delivers again");
                        }
                        // Nobody knows which submission the part is of that a store does not keep.
                        let is_kept = !self.is_store || written.rejected == 0;
                        return if is_kept { Settled::Delivered } else { Settled::Lost };
                    }
                    Outcome::Done(Err(error)) => error,
                    Outcome::TimedOut(after) => {
                        SinkError::retry(format!("no answer within {after:?}")).into()
                    }
                    Outcome::Panicked(text) => {
                        self.counters.fail(batch.len(), "panic");
                        self.end_sink(SinkState::Failed, format!("the sink panicked: {text}"));
                        return Settled::Lost;
                    }
                };
            let stored = stored.min(batch.len());
            self.counters.deliver(stored);
            load.settled.set(load.settled.get() + stored);
            let left = batch.len() - stored;
            self.counters.set_error(text.clone());
            match action {
                Action::Reject => {
                    tracing::warn!(
                        sink = self.counters.name,
                        error = text,
                        lost = left,
                        "a batch was rejected"
                    );
                    self.counters.fail(left, &text);
                    return Settled::Lost;
                }
                Action::Close => {
                    self.counters.fail(left, &text);
                    self.end_sink(SinkState::Closed, text);
                    return Settled::Lost;
                }
                Action::Retry { after } => {
                    if !troubled {
                        tracing::warn!(
                            sink = self.counters.name,
                            error = text,
                            "the sink fails; trying again"
                        );
                        troubled = true;
                    }
                    if self.options.retry_for.is_some_and(|limit| started.elapsed() >= limit) {
                        self.counters.fail(left, &format!("retries exhausted: {text}"));
                        return Settled::Lost;
                    }
                    let jitter = rand::rng().random_range(0.5..1.0);
                    let wait = after.unwrap_or_else(|| back_off.mul_f64(jitter));
                    back_off = (back_off * 2).min(LONGEST_BACK_OFF);
                    if !self.may_wait(wait).await {
                        return Settled::GaveUp;
                    }
                    self.counters.retry();
                }
            }
        }
    }

    fn settle(&self, batch: &Batch<'_>, written: &Written) {
        let rejected = usize::try_from(written.rejected).unwrap_or(usize::MAX).min(batch.len());
        self.counters.deliver(batch.len() - rejected);
        if rejected > 0 {
            let reason = written.reason.as_deref().unwrap_or("rejected by the destination");
            self.counters.fail(rejected, reason);
            self.counters.set_error(reason.to_owned());
        }
    }

    /// Waits before a retry; `false` when a shutdown leaves no time for one.
    async fn may_wait(&mut self, wait: Duration) -> bool {
        // An hour, should the destination name a time that no clock can show.
        let wake_at = Instant::now().checked_add(wait).unwrap_or_else(|| Instant::now() + LONGEST_WAIT);
        loop {
            // While shutting down a retry comes sooner: there may be no later.
            let give_up_at = *self.give_up_at.borrow_and_update();
            let wake_at = match give_up_at {
                Some(deadline) if Instant::now() + FIRST_BACK_OFF >= deadline => return false,
                Some(_) => wake_at.min(Instant::now() + FIRST_BACK_OFF),
                None => wake_at,
            };
            tokio::select! {
                () = tokio::time::sleep_until(wake_at) => return true,
                changed = self.give_up_at.changed() => if changed.is_err() { return false },
            }
        }
    }

    /// Flushes the sink, until it is done or a shutdown leaves no time.
    pub(super) async fn flush(&mut self) -> Result<(), String> {
        let Some(sink) = &mut self.sink else { return Err("the sink is closed".to_owned()) };
        let flushed = tokio::select! {
            flushed = guarded(self.options.write_timeout, async { sink.flush().await }) => flushed,
            // What is dropped here the sink tries again when it is shut down. A store's statement would
            // run on and stand in its own way.
            () = is_over(&mut self.give_up_at), if !self.is_store => {
                return Err("the pipeline is shutting down".to_owned());
            }
        };
        match flushed {
            Outcome::Done(outcome) => outcome.map_err(|error| error.text),
            Outcome::TimedOut(after) => Err(format!("no answer within {after:?}")),
            Outcome::Panicked(text) => {
                let text = format!("the sink panicked: {text}");
                self.end_sink(SinkState::Failed, text.clone());
                Err(text)
            }
        }
    }

    fn end_sink(&mut self, state: SinkState, why: String) {
        tracing::error!(sink = self.counters.name, error = why, "the sink has ended");
        self.counters.set_error(why);
        self.counters.set_state(state);
        let sink = self.sink.take();
        if let Err(panic) = contained(|| drop(sink)) {
            tracing::error!(sink = self.counters.name, panic, "the sink panicked while it was dropped");
        }
    }

    pub(super) async fn shut_down(&mut self) {
        let Some(sink) = self.sink.take() else { return };
        match guarded(None, async { sink.shutdown().await }).await {
            Outcome::Done(Ok(())) => self.counters.set_state(SinkState::Closed),
            Outcome::Done(Err(error)) => {
                self.counters.set_state(SinkState::Closed);
                self.counters.take_back(error.taken_back, &error.text);
                self.counters.set_error(error.text);
            }
            Outcome::TimedOut(_) => self.counters.set_state(SinkState::Failed),
            Outcome::Panicked(text) => {
                self.counters.set_state(SinkState::Failed);
                self.counters.set_error(format!("the sink panicked: {text}"));
            }
        }
    }
}

/// Returns once a shutdown has begun and its time to give up has come.
pub(super) async fn is_over(give_up_at: &mut GiveUpAt) {
    loop {
        let deadline = *give_up_at.borrow_and_update();
        tokio::select! {
            () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return,
            changed = give_up_at.changed() => if changed.is_err() {
                // The pipeline is gone without a shutdown: nobody waits.
                return;
            },
        }
    }
}

/// Runs a call of the sink with its limit, and keeps its panic from the worker.
async fn guarded<T>(limit: Option<Duration>, call: impl Future<Output = Result<T, SinkError>>) -> Outcome<T> {
    let call = Contained::new(async { call.await.map_err(Failure::from) });
    let done = match limit {
        None => call.await,
        Some(limit) => match tokio::time::timeout(limit, call).await {
            Ok(done) => done,
            Err(_) => return Outcome::TimedOut(limit),
        },
    };
    match done {
        Ok(result) => Outcome::Done(result),
        Err(panic) => Outcome::Panicked(panic),
    }
}
