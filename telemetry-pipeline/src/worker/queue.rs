//! The worker's end of its queue: a part on disk, and behind it a part in memory.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use telemetry_core::{SignalSet, SinkOptions};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::batch::{BatchOutcome, PendingBatch};
use super::channel::{QueueMemory, QueuedChunk, Task, WorkerSender, channel};
use super::spooled::{PAUSE_AFTER_FAILURE, SpooledPart, Waiting};
use crate::accounting::{Ack, SinkCounters};
use crate::deadline::GiveUpAt;
use crate::spool::Spool;

/// Tasks beyond which memory counts as full, however small they are.
const FULL_TASKS: usize = 4_096;

pub(crate) struct WorkerQueue {
    receiver: mpsc::Receiver<Task<QueuedChunk>>,
    /// Tasks received, oldest first. All are newer than what is on disk.
    backlog: VecDeque<Task<QueuedChunk>>,
    spooled: Option<SpooledPart>,
    memory: Arc<QueueMemory>,
    counters: Arc<SinkCounters>,
    interest: SignalSet,
    batch_signals: usize,
    batch_age: Duration,
}

impl WorkerQueue {
    /// Creates a worker's queue, and the assembler thread's end of it.
    pub(crate) fn new(
        counters: Arc<SinkCounters>,
        interest: SignalSet,
        is_store: bool,
        options: &SinkOptions,
        spool: Option<Spool>,
    ) -> (WorkerSender, Self) {
        let (sender, receiver, memory) =
            channel(Arc::clone(&counters), interest, is_store, options.queue_bytes);
        let queue = Self {
            receiver,
            backlog: VecDeque::new(),
            spooled: spool.map(SpooledPart::new),
            memory,
            counters,
            interest,
            batch_signals: options.batch_signals.max(1),
            batch_age: options.batch_age,
        };
        (sender, queue)
    }

    pub(super) fn has_spool(&self) -> bool {
        self.spooled.is_some()
    }

    /// Waits for the next task. Returns `None` once the queue is closed and empty. If the sink has ended,
    /// signals on disk are left there for another run.
    pub(super) async fn next(&mut self, is_open: bool) -> Option<Task<PendingBatch>> {
        if self.spooled.is_some() {
            self.receive_waiting();
        }
        while let Some(spooled) = &mut self.spooled {
            if let Some(reply) = spooled.due_flush(is_open) {
                return Some(Task::Flush(reply));
            }
            if !is_open || spooled.spool.is_read() {
                break;
            }
            if let Some(batch) = spooled.read(self.batch_signals, &self.counters) {
                return Some(Task::Deliver(batch));
            }
        }
        let task = match self.backlog.pop_front() {
            Some(task) => Some(task),
            None => self.receiver.recv().await,
        };
        match task? {
            Task::Flush(reply) => Some(Task::Flush(reply)),
            Task::Deliver(first) => Some(Task::Deliver(self.gather(first).await)),
        }
    }

    /// Collects a batch of chunks that are in memory already or arrive before the batch is too old.
    async fn gather(&mut self, first: QueuedChunk) -> PendingBatch {
        // `None` if no clock can represent it: then the batch waits until it is full.
        let ready_at = Instant::now().checked_add(self.batch_age);
        let mut batch = PendingBatch::from_memory(first);
        while batch.signals < self.batch_signals {
            let task = match self.backlog.pop_front().map_or_else(|| self.receiver.try_recv(), Ok) {
                Ok(task) => Some(task),
                // Somebody waits for the receipt, so the batch does not wait until it is full.
                Err(_) if !batch.acks.is_empty() || self.batch_age.is_zero() => None,
                Err(_) => match ready_at {
                    Some(at) => tokio::time::timeout_at(at, self.receiver.recv()).await.ok().flatten(),
                    None => self.receiver.recv().await,
                },
            };
            match task {
                Some(Task::Deliver(chunk)) => batch.add(chunk),
                Some(flush) => {
                    self.backlog.push_front(flush);
                    break;
                }
                None => break,
            }
        }
        batch
    }

    /// Receives tasks while `batch` is delivered, and moves the oldest to disk when memory is full. Returns
    /// when the time for a shutdown is over and everything is on disk. Never returns without a spool.
    pub(super) async fn spool_during_delivery(&mut self, batch: &PendingBatch, give_up_at: &mut GiveUpAt) {
        if self.spooled.is_none() {
            return pending().await;
        }
        loop {
            let has_room = self.backlog.len() < FULL_TASKS;
            // If memory is full, no chunk arrives that would wake this loop, so a timer does.
            let is_full = self.is_full();
            tokio::select! {
                task = self.receiver.recv(), if has_room => match task {
                    Some(task) => {
                        self.backlog.push_back(task);
                        self.spool_while_full(Some(batch));
                    }
                    None => {
                        give_up_at.passed().await;
                        return self.move_to_spool(Some(batch)).await;
                    }
                },
                () = tokio::time::sleep(PAUSE_AFTER_FAILURE), if is_full => self.spool_while_full(Some(batch)),
                () = give_up_at.passed() => return self.move_to_spool(Some(batch)).await,
            }
        }
    }

    /// Receives the tasks that wait in the channel, so that memory is freed also while the sink is fast.
    fn receive_waiting(&mut self) {
        while self.backlog.len() < FULL_TASKS
            && let Ok(task) = self.receiver.try_recv()
        {
            self.backlog.push_back(task);
        }
        self.spool_while_full(None);
    }

    fn is_full(&self) -> bool {
        self.memory.is_half_full() || self.backlog.len() >= FULL_TASKS
    }

    fn spool_while_full(&mut self, batch: Option<&PendingBatch>) {
        while self.is_full() && self.spool_oldest(batch) {}
    }

    /// Moves the oldest task in memory to disk, after `batch` if that is being delivered. Returns false if
    /// nothing was moved.
    fn spool_oldest(&mut self, batch: Option<&PendingBatch>) -> bool {
        let Some(spooled) = &mut self.spooled else { return false };
        if spooled.is_paused() {
            return false;
        }
        if let Some(batch) = batch
            && batch.spool_end.get().is_none()
        {
            // The batch is older than all tasks, so its rest must be on disk before them.
            if !spooled.append(batch.unsettled(self.interest), &self.counters) {
                return false;
            }
            batch.spool_end.set(Some(spooled.spool.tail()));
        }
        match self.backlog.pop_front() {
            None => false,
            Some(Task::Flush(reply)) => {
                spooled.wait(spooled.spool.tail(), Waiting::Flush(reply));
                true
            }
            Some(Task::Deliver(chunk)) => {
                let signals = chunk.chunk.signals().iter();
                let signals = signals.filter(|signal| self.interest.contains(signal.kind()));
                let begin = spooled.spool.tail();
                if !spooled.append(signals, &self.counters) {
                    self.backlog.push_front(Task::Deliver(chunk));
                    return false;
                }
                self.memory.remove(chunk.bytes);
                if !chunk.acks.is_empty() {
                    spooled.wait(begin, Waiting::Acks(chunk.acks));
                }
                true
            }
        }
    }

    /// Moves all tasks to disk until the channel is closed, after the rest of `batch`. Without room on disk,
    /// signals are dropped and counted.
    pub(super) async fn move_to_spool(&mut self, batch: Option<&PendingBatch>) {
        loop {
            if let Some(spooled) = &mut self.spooled {
                spooled.resume();
            }
            while self.spool_oldest(batch) {}
            match self.backlog.pop_front() {
                // It does not fit, or there is no spool.
                Some(Task::Deliver(chunk)) => {
                    self.memory.remove(chunk.bytes);
                    self.counters.drop_signals(chunk.signals as u64, self.counters.full_reason());
                }
                Some(Task::Flush(reply)) => {
                    let _ = reply.send(Err("the pipeline is shutting down".to_owned()));
                }
                None => match self.receiver.recv().await {
                    Some(task) => self.backlog.push_back(task),
                    None => return,
                },
            }
        }
    }

    /// Frees a batch's memory, answers its receipts, and notes on disk how far it is settled.
    pub(super) fn settle(&mut self, batch: PendingBatch, outcome: BatchOutcome) {
        self.memory.remove(batch.bytes);
        let left = batch.left() as u64;
        if let (BatchOutcome::GaveUp, Some(spooled), None) =
            (outcome, &mut self.spooled, batch.spool_end.get())
            && spooled.append(batch.unsettled(self.interest), &self.counters)
        {
            batch.spool_end.set(Some(spooled.spool.tail()));
        }
        match (&mut self.spooled, batch.spool_end.get()) {
            (Some(spooled), Some(end)) => {
                spooled.spool.settle(if outcome == BatchOutcome::GaveUp { end - left } else { end });
                spooled.answer(outcome == BatchOutcome::Delivered);
            }
            (spooled, _) if outcome == BatchOutcome::GaveUp => {
                let reason = if spooled.is_some() { self.counters.full_reason() } else { "shutdown" };
                self.counters.drop_signals(left, reason);
            }
            _ => {}
        }
        if outcome == BatchOutcome::Delivered {
            batch.acks.into_iter().for_each(Ack::stored);
        }
        if let Some(spooled) = &self.spooled {
            self.counters.set_spooled(spooled.spool.len());
        }
    }

    /// Writes the spool to the disk itself. Call this when the channel is closed and the sink is shut down.
    pub(super) fn close(&mut self) {
        let Some(spooled) = &mut self.spooled else { return };
        let signals = spooled.spool.len();
        let sink = self.counters.name;
        if let Err(error) = spooled.spool.sync() {
            let error = error.to_string();
            tracing::warn!(sink, error, "can't sync the spool; it may be incomplete after a power failure");
        }
        if signals > 0 {
            tracing::info!(sink, signals, "the spool keeps signals for the next start");
        }
    }
}
