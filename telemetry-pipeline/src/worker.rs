//! A worker owns its sink: makes batches, retries what may be retried, and alone counts.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use rand::RngExt as _;
use telemetry_core::{
    Action, Batch, BatchId, Chunk, RunId, SignalSet, Sink, SinkError, SinkOptions, Written,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::error::panic_text;
use crate::ledger::{SinkCounters, SinkState};
use crate::receipt::Ack;

/// What a worker is sent.
#[derive(Debug)]
pub(crate) enum Message {
    Delivery(Delivery),
    Flush(oneshot::Sender<Result<(), String>>),
}

/// A chunk on its way to one sink.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) chunk: Arc<Chunk>,
    /// How many of its signals are for this sink.
    pub(crate) signals: usize,
    pub(crate) bytes: usize,
    pub(crate) acks: Vec<Ack>,
}

/// First wait before a retry; doubled each time.
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
/// Longest wait before a retry that the destination did not ask for.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

pub(crate) struct Worker {
    pub(crate) sink: Option<Box<dyn Sink>>,
    pub(crate) interest: SignalSet,
    pub(crate) options: SinkOptions,
    pub(crate) run: RunId,
    pub(crate) queue: mpsc::Receiver<Message>,
    pub(crate) bytes: Arc<AtomicUsize>,
    pub(crate) counters: Arc<SinkCounters>,
    /// Set at shutdown: when to have given up.
    pub(crate) give_up_at: watch::Receiver<Option<Instant>>,
    pub(crate) batches: u64,
}

/// How a call of the sink ended.
enum Outcome<T> {
    Done(Result<T, SinkError>),
    TimedOut(Duration),
    Panicked(String),
}

impl Worker {
    /// Delivers until the queue ends, then shuts the sink down.
    pub(crate) async fn work(mut self) {
        let mut next = None;
        while let Some(message) = match next.take() {
            Some(message) => Some(message),
            None => self.queue.recv().await,
        } {
            match message {
                Message::Flush(reply) => {
                    let outcome = self.flush().await;
                    // Nobody waits any more: fine.
                    let _ = reply.send(outcome);
                }
                Message::Delivery(first) => {
                    let deliveries = self.gather(first, &mut next).await;
                    self.deliver(deliveries).await;
                }
            }
        }
        self.shut_down().await;
    }

    /// Collects a batch, from what is in the queue already or comes before the batch is too old.
    async fn gather(&mut self, first: Delivery, next: &mut Option<Message>) -> Vec<Delivery> {
        let ready_at = Instant::now() + self.options.batch_age;
        let mut signals = first.signals;
        let mut has_ack = !first.acks.is_empty();
        let mut deliveries = vec![first];
        while signals < self.options.batch_signals {
            let message = match self.queue.try_recv() {
                Ok(message) => Some(message),
                // With a receipt inside nobody should wait for the batch to fill.
                Err(_) if has_ack || self.options.batch_age.is_zero() => None,
                Err(_) => tokio::time::timeout_at(ready_at, self.queue.recv()).await.ok().flatten(),
            };
            match message {
                Some(Message::Delivery(delivery)) => {
                    signals += delivery.signals;
                    has_ack |= !delivery.acks.is_empty();
                    deliveries.push(delivery);
                }
                other => {
                    *next = other;
                    break;
                }
            }
        }
        deliveries
    }

    async fn deliver(&mut self, deliveries: Vec<Delivery>) {
        self.batches += 1;
        let id = BatchId { run: self.run, number: self.batches };
        let bytes: usize = deliveries.iter().map(|delivery| delivery.bytes).sum();
        let (chunks, acks): (Vec<_>, Vec<_>) =
            deliveries.into_iter().map(|delivery| (delivery.chunk, delivery.acks)).unzip();
        let stored = self.try_until_settled(id, &chunks).await;
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if stored {
            acks.into_iter().flatten().for_each(Ack::stored);
        }
    }

    /// Offers a batch until it is delivered or lost; says which, and counts it.
    async fn try_until_settled(&mut self, id: BatchId, chunks: &[Arc<Chunk>]) -> bool {
        let started = Instant::now();
        let mut skip = 0;
        let mut back_off = FIRST_BACK_OFF;
        let mut troubled = false;
        loop {
            let batch = Batch::new(id, chunks, self.interest, skip);
            let Some(sink) = &mut self.sink else {
                self.counters.drop_signals(batch.len(), "sink closed");
                return false;
            };
            let limit = self.options.write_timeout;
            let error = match guarded(limit, sink.write(&batch)).await {
                Outcome::Done(Ok(written)) => {
                    self.settle(&batch, &written);
                    if troubled {
                        tracing::info!(sink = self.counters.name, "the sink delivers again");
                    }
                    return true;
                }
                Outcome::Done(Err(error)) => error,
                Outcome::TimedOut(after) => SinkError::retry(format!("no answer within {after:?}")),
                Outcome::Panicked(text) => {
                    self.counters.fail(batch.len(), "panic");
                    self.end_sink(SinkState::Failed, format!("the sink panicked: {text}"));
                    return false;
                }
            };
            let stored = error.stored_signals().min(batch.len());
            self.counters.deliver(stored);
            skip += stored;
            let left = batch.len() - stored;
            let text = error.full_text();
            self.counters.set_error(text.clone());
            match error.action() {
                Action::Reject => {
                    tracing::warn!(
                        sink = self.counters.name,
                        error = text,
                        lost = left,
                        "a batch was rejected"
                    );
                    self.counters.fail(left, &text);
                    return false;
                }
                Action::Close => {
                    self.counters.fail(left, &text);
                    self.end_sink(SinkState::Closed, text);
                    return false;
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
                        return false;
                    }
                    let jitter = rand::rng().random_range(0.5..1.0);
                    let wait = after.unwrap_or_else(|| back_off.mul_f64(jitter));
                    back_off = (back_off * 2).min(LONGEST_BACK_OFF);
                    if !self.may_wait(wait).await {
                        self.counters.drop_signals(left, "shutdown");
                        return false;
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
        let wake_at = Instant::now() + wait;
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

    async fn flush(&mut self) -> Result<(), String> {
        let Some(sink) = &mut self.sink else { return Err("the sink is closed".to_owned()) };
        match guarded(self.options.write_timeout, sink.flush()).await {
            Outcome::Done(outcome) => outcome.map_err(|error| error.full_text()),
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
        self.sink = None;
    }

    async fn shut_down(&mut self) {
        let Some(sink) = self.sink.take() else { return };
        match guarded(None, sink.shutdown()).await {
            Outcome::Done(Ok(())) => self.counters.set_state(SinkState::Closed),
            Outcome::Done(Err(error)) => {
                let text = error.full_text();
                self.counters.set_state(SinkState::Closed);
                self.counters.take_back(error.taken_back(), &text);
                self.counters.set_error(text);
            }
            Outcome::TimedOut(_) => self.counters.set_state(SinkState::Failed),
            Outcome::Panicked(text) => {
                self.counters.set_state(SinkState::Failed);
                self.counters.set_error(format!("the sink panicked: {text}"));
            }
        }
    }
}

/// Runs a call of the sink with its limit, and keeps its panic from the worker.
async fn guarded<T>(limit: Option<Duration>, call: impl Future<Output = Result<T, SinkError>>) -> Outcome<T> {
    let call = AssertUnwindSafe(call).catch_unwind();
    let done = match limit {
        None => call.await,
        Some(limit) => match tokio::time::timeout(limit, call).await {
            Ok(done) => done,
            Err(_) => return Outcome::TimedOut(limit),
        },
    };
    match done {
        Ok(result) => Outcome::Done(result),
        Err(panic) => Outcome::Panicked(panic_text(&*panic)),
    }
}
