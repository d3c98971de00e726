//! Workers: each owns one sink, makes batches for it, retries, and alone counts the results.
//!
//! A worker's queue is in memory. Where a spool is configured, the older part of it is on disk: it is
//! delivered first.

mod batch;
mod channel;
mod deliverer;
mod queue;
mod spooled;

use std::sync::Arc;

use telemetry_core::{BatchId, RunId, SignalSet, Sink, SinkOptions};

pub(crate) use self::channel::{QueuedChunk, StoreQueue, WorkerSender};
pub(crate) use self::queue::WorkerQueue;

use self::batch::{BatchOutcome, PendingBatch};
use self::channel::Task;
use self::deliverer::Deliverer;
use crate::accounting::{RejectedChunks, SinkCounters};
use crate::deadline::GiveUpAt;

/// What a worker needs to work, beside its queue.
pub(crate) struct WorkerParts {
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) interest: SignalSet,
    pub(crate) options: SinkOptions,
    pub(crate) run: RunId,
    pub(crate) counters: Arc<SinkCounters>,
    pub(crate) give_up_at: GiveUpAt,
    /// Where the worker of a store reports chunks that the store did not keep. `None` for other sinks.
    pub(crate) rejected: Option<RejectedChunks>,
}

pub(crate) struct Worker {
    deliverer: Deliverer,
    queue: WorkerQueue,
    give_up_at: GiveUpAt,
    run: RunId,
    batches: u64,
    rejected: Option<RejectedChunks>,
    /// True once a batch was given up for a shutdown. The rest of the queue then goes to disk.
    gave_up: bool,
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts, queue: WorkerQueue) -> Self {
        let WorkerParts { sink, interest, options, run, counters, give_up_at, rejected } = parts;
        let is_store = rejected.is_some();
        let deliverer = Deliverer::new(sink, is_store, interest, options, counters, give_up_at.clone());
        Self { deliverer, queue, give_up_at, run, batches: 0, rejected, gave_up: false }
    }

    /// Delivers until the queue is closed and empty, then shuts the sink down.
    pub(crate) async fn run(mut self) {
        while !self.must_stop()
            && let Some(task) = self.queue.next(self.deliverer.is_open()).await
        {
            match task {
                Task::Flush(reply) => {
                    let outcome = self.deliverer.flush().await;
                    // The caller may have stopped waiting.
                    let _ = reply.send(outcome);
                }
                Task::Deliver(batch) => self.deliver(batch).await,
            }
        }
        self.queue.move_to_spool(None).await;
        self.deliverer.shut_down().await;
        self.queue.close();
    }

    /// Returns true if a shutdown leaves no time, and the rest of the queue can wait on disk.
    fn must_stop(&self) -> bool {
        self.gave_up || self.queue.has_spool() && self.give_up_at.has_passed()
    }

    async fn deliver(&mut self, batch: PendingBatch) {
        self.batches += 1;
        let id = BatchId { run: self.run, number: self.batches };
        let outcome = tokio::select! {
            biased;
            outcome = self.deliverer.deliver(id, &batch) => outcome,
            // Meanwhile the queue continues on disk. This ends when the time for the shutdown is over.
            () = self.queue.spool_during_delivery(&batch, &mut self.give_up_at) => BatchOutcome::GaveUp,
        };
        if let (BatchOutcome::Failed, Some(rejected)) = (outcome, &self.rejected) {
            rejected.add(&batch.chunks);
        }
        self.gave_up |= outcome == BatchOutcome::GaveUp && self.queue.has_spool();
        self.queue.settle(batch, outcome);
    }
}
