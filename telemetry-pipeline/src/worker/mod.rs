//! A worker owns its sink: makes batches, retries what may be retried, and alone counts.
//!
//! Its queue is memory, and behind it, where a spool is configured, a part on disk: what is on disk is
//! older than what is in memory, and goes first.

mod courier;
mod intake;
mod work;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use telemetry_core::{BatchId, Chunk, RunId, SignalSet, Sink, SinkOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use self::courier::{Courier, Settled};
use self::intake::Intake;
use self::work::{Load, Work};
use crate::ledger::SinkCounters;
use crate::lost::LostChunks;
use crate::receipt::Ack;
use crate::spool::Spool;

/// What a worker is sent.
#[derive(Debug)]
pub(crate) enum Message {
    Delivery(Delivery),
    Flush(FlushReply),
}

/// Where the outcome of a flush goes.
pub(crate) type FlushReply = oneshot::Sender<Result<(), String>>;

/// A chunk on its way to one sink.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) chunk: Arc<Chunk>,
    /// How many of its signals are for this sink.
    pub(crate) signals: usize,
    pub(crate) bytes: usize,
    pub(crate) acks: Vec<Ack>,
}

/// When to have given up: set at shutdown.
pub(crate) type GiveUpAt = watch::Receiver<Option<Instant>>;

/// What a worker is made of.
pub(crate) struct WorkerParts {
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) interest: SignalSet,
    pub(crate) options: SinkOptions,
    pub(crate) run: RunId,
    pub(crate) queue: mpsc::Receiver<Message>,
    /// What waits in memory, as the engine's end of the queue counts it.
    pub(crate) bytes: Arc<AtomicUsize>,
    pub(crate) counters: Arc<SinkCounters>,
    pub(crate) give_up_at: GiveUpAt,
    pub(crate) spool: Option<Spool>,
    /// Where a store tells what it did not keep.
    pub(crate) lost: Option<LostChunks>,
}

pub(crate) struct Worker {
    courier: Courier,
    intake: Intake,
    give_up_at: GiveUpAt,
    run: RunId,
    batches: u64,
    lost: Option<LostChunks>,
    /// There is no time for another batch; what is left goes to disk.
    is_over: bool,
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts) -> Self {
        let WorkerParts { sink, interest, options, run, queue, bytes, counters, give_up_at, spool, lost } =
            parts;
        let intake = Intake::new(queue, bytes, Arc::clone(&counters), interest, &options, spool);
        let courier = Courier::new(sink, lost.is_some(), interest, options, counters, give_up_at.clone());
        Self { courier, intake, give_up_at, run, batches: 0, lost, is_over: false }
    }

    /// Delivers until the queue ends, then shuts the sink down.
    pub(crate) async fn work(mut self) {
        while !self.is_over()
            && let Some(work) = self.intake.next(self.courier.is_open()).await
        {
            match work {
                Work::Flush(reply) => {
                    let outcome = self.courier.flush().await;
                    // Nobody waits any more: fine.
                    let _ = reply.send(outcome);
                }
                Work::Load(load) => self.deliver(load).await,
            }
        }
        self.intake.put_away(None).await;
        self.courier.shut_down().await;
        self.intake.close();
    }

    /// Whether a shutdown leaves no time for what can as well wait on disk.
    fn is_over(&self) -> bool {
        let give_up_at = *self.give_up_at.borrow();
        self.is_over || self.intake.has_spool() && give_up_at.is_some_and(|at| Instant::now() >= at)
    }

    async fn deliver(&mut self, load: Load) {
        self.batches += 1;
        let id = BatchId { run: self.run, number: self.batches };
        let settled = tokio::select! {
            biased;
            settled = self.courier.try_until_settled(id, &load) => settled,
            // Meanwhile the queue continues on disk; this ends when the time is over.
            () = self.intake.tend(&load, &mut self.give_up_at) => Settled::GaveUp,
        };
        if let (Settled::Lost, Some(lost)) = (settled, &self.lost) {
            lost.add(&load.chunks);
        }
        self.is_over |= settled == Settled::GaveUp && self.intake.has_spool();
        self.intake.settle(load, settled);
    }
}
