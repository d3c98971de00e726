//! The worker's end of its queue: memory first, then disk.

use std::collections::VecDeque;
use std::future::pending;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use telemetry_core::{SignalSet, SinkOptions};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::ledger::{SPOOL_FAILED, SPOOL_FULL, SinkCounters};
use crate::receipt::Ack;
use crate::spool::{AppendError, Spool};
use crate::worker::courier::{Settled, is_over};
use crate::worker::work::{Load, Work};
use crate::worker::{Delivery, FlushReply, GiveUpAt, Message};

/// Messages beyond which memory counts as full, however small they are.
const FULL_MESSAGES: usize = 4_096;
/// Receipts that wait for what is on disk, at most. Beyond it they answer "not stored".
const MAX_WAITING: usize = 65_536;
/// How long the disk is left alone after it failed.
const DISK_REST: Duration = Duration::from_secs(1);

pub(super) struct Intake {
    queue: mpsc::Receiver<Message>,
    /// Taken from the queue, oldest first.
    backlog: VecDeque<Message>,
    disk: Option<Disk>,
    bytes: Arc<AtomicUsize>,
    /// Memory beyond which the oldest goes to disk. Half of what the engine may fill.
    full_bytes: usize,
    counters: Arc<SinkCounters>,
    interest: SignalSet,
    batch_signals: usize,
    batch_age: Duration,
}

/// The part of the queue that is on disk.
struct Disk {
    spool: Spool,
    /// Who waits until signals are settled, in order.
    waiting: VecDeque<(Range<u64>, Waiting)>,
    /// Flushes whose turn it is.
    due: VecDeque<FlushReply>,
    failed_at: Option<Instant>,
}

enum Waiting {
    Flush(FlushReply),
    Acks(Vec<Ack>),
}

impl Intake {
    pub(super) fn new(
        queue: mpsc::Receiver<Message>,
        bytes: Arc<AtomicUsize>,
        counters: Arc<SinkCounters>,
        interest: SignalSet,
        options: &SinkOptions,
        spool: Option<Spool>,
    ) -> Self {
        let disk = spool.map(|spool| Disk {
            spool,
            waiting: VecDeque::new(),
            due: VecDeque::new(),
            failed_at: None,
        });
        Self {
            queue,
            backlog: VecDeque::new(),
            disk,
            bytes,
            full_bytes: options.queue_bytes / 2,
            counters,
            interest,
            batch_signals: options.batch_signals.max(1),
            batch_age: options.batch_age,
        }
    }

    pub(super) fn has_spool(&self) -> bool {
        self.disk.is_some()
    }

    /// The next thing to do; `None` once the queue has ended and is empty. What is on disk is left there
    /// for another run unless the sink `is_open`.
    pub(super) async fn next(&mut self, is_open: bool) -> Option<Work> {
        if self.disk.is_some() {
            self.take_what_is_there();
        }
        while let Some(disk) = &mut self.disk {
            if let Some(reply) = disk.due_flush(is_open) {
                return Some(Work::Flush(reply));
            }
            if !is_open || disk.spool.is_read() {
                break;
            }
            let taken = disk.spool.read(self.batch_signals);
            let ends = disk.spool.next();
            let spooled = disk.spool.len();
            self.counters.set_spooled(spooled);
            if taken.lost > 0 {
                self.counters.fail(usize::try_from(taken.lost).unwrap_or(usize::MAX), "spool unreadable");
                disk.answer(false);
            }
            if !taken.chunks.is_empty() {
                return Some(Work::Load(Load::from_disk(taken.chunks, taken.signals, Some(ends))));
            }
        }
        let message = match self.backlog.pop_front() {
            Some(message) => Some(message),
            None => self.queue.recv().await,
        };
        match message? {
            Message::Flush(reply) => Some(Work::Flush(reply)),
            Message::Delivery(first) => Some(Work::Load(Load::from_memory(self.gather(first).await))),
        }
    }

    /// Collects a batch, from what is in memory already or comes before the batch is too old.
    async fn gather(&mut self, first: Delivery) -> Vec<Delivery> {
        // Beyond all clocks: the batch waits until it is full.
        let ready_at = Instant::now().checked_add(self.batch_age);
        let mut signals = first.signals;
        let mut has_ack = !first.acks.is_empty();
        let mut deliveries = vec![first];
        while signals < self.batch_signals {
            let message = match self.backlog.pop_front().map_or_else(|| self.queue.try_recv(), Ok) {
                Ok(message) => Some(message),
                // With a receipt inside nobody should wait for the batch to fill.
                Err(_) if has_ack || self.batch_age.is_zero() => None,
                Err(_) => match ready_at {
                    Some(at) => tokio::time::timeout_at(at, self.queue.recv()).await.ok().flatten(),
                    None => self.queue.recv().await,
                },
            };
            match message {
                Some(Message::Delivery(delivery)) => {
                    signals += delivery.signals;
                    has_ack |= !delivery.acks.is_empty();
                    deliveries.push(delivery);
                }
                Some(flush) => {
                    self.backlog.push_front(flush);
                    break;
                }
                None => break,
            }
        }
        deliveries
    }

    /// Lets the queue continue on disk while `load` is delivered. Returns when a shutdown's time is over
    /// and everything is on disk; without a spool never.
    pub(super) async fn tend(&mut self, load: &Load, give_up_at: &mut GiveUpAt) {
        if self.disk.is_none() {
            return pending().await;
        }
        loop {
            let has_room = self.backlog.len() < FULL_MESSAGES;
            // Then nothing comes that would wake this: what does not fit is refused before.
            let is_full = self.is_full();
            tokio::select! {
                message = self.queue.recv(), if has_room => match message {
                    Some(message) => {
                        self.backlog.push_back(message);
                        self.relieve(load);
                    }
                    None => {
                        is_over(give_up_at).await;
                        return self.put_away(Some(load)).await;
                    }
                },
                () = tokio::time::sleep(DISK_REST), if is_full => self.relieve(load),
                () = is_over(give_up_at) => return self.put_away(Some(load)).await,
            }
        }
    }

    /// Takes what has come into the queue meanwhile, so that memory is relieved also while the sink is quick.
    fn take_what_is_there(&mut self) {
        while self.backlog.len() < FULL_MESSAGES
            && let Ok(message) = self.queue.try_recv()
        {
            self.backlog.push_back(message);
        }
        while self.is_full() && self.spool_oldest(None) {}
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.full_bytes || self.backlog.len() >= FULL_MESSAGES
    }

    fn relieve(&mut self, load: &Load) {
        while self.is_full() && self.spool_oldest(Some(load)) {}
    }

    /// Moves the oldest message in memory to disk, behind `load` where that is under way.
    fn spool_oldest(&mut self, load: Option<&Load>) -> bool {
        let Some(disk) = &mut self.disk else { return false };
        if disk.failed_at.is_some_and(|at| at.elapsed() < DISK_REST) {
            return false;
        }
        if let Some(load) = load
            && load.on_disk.get().is_none()
        {
            // It is older than all that follows.
            let signals = load.unsettled(self.interest);
            if !disk.append(signals, &self.counters) {
                return false;
            }
            load.on_disk.set(Some(disk.spool.tail()));
        }
        match self.backlog.pop_front() {
            None => false,
            Some(Message::Flush(reply)) => {
                disk.wait(disk.spool.tail(), Waiting::Flush(reply));
                true
            }
            Some(Message::Delivery(delivery)) => {
                let signals = delivery.chunk.signals().iter();
                let begins = disk.spool.tail();
                if disk.append(signals.filter(|signal| self.interest.contains(signal.kind())), &self.counters)
                {
                    self.bytes.fetch_sub(delivery.bytes, Ordering::Relaxed);
                    if !delivery.acks.is_empty() {
                        disk.wait(begins, Waiting::Acks(delivery.acks));
                    }
                    true
                } else {
                    self.backlog.push_front(Message::Delivery(delivery));
                    false
                }
            }
        }
    }

    /// Moves all that is left to disk, and all that still comes; what does not fit is dropped and counted.
    pub(super) async fn put_away(&mut self, load: Option<&Load>) {
        loop {
            if let Some(disk) = &mut self.disk {
                disk.failed_at = None;
            }
            while self.spool_oldest(load) {}
            match self.backlog.pop_front() {
                // It does not fit, or there is no disk.
                Some(Message::Delivery(delivery)) => {
                    self.bytes.fetch_sub(delivery.bytes, Ordering::Relaxed);
                    self.counters.drop_signals(delivery.signals, self.counters.full_reason());
                }
                Some(Message::Flush(reply)) => {
                    let _ = reply.send(Err("the pipeline is shutting down".to_owned()));
                }
                None => match self.queue.recv().await {
                    Some(message) => self.backlog.push_back(message),
                    None => return,
                },
            }
        }
    }

    /// Notes what became of a load.
    pub(super) fn settle(&mut self, load: Load, settled: Settled) {
        self.bytes.fetch_sub(load.bytes, Ordering::Relaxed);
        let left = load.left();
        if let (Settled::GaveUp, Some(disk), None) = (settled, &mut self.disk, load.on_disk.get())
            && disk.append(load.unsettled(self.interest), &self.counters)
        {
            load.on_disk.set(Some(disk.spool.tail()));
        }
        match (&mut self.disk, load.on_disk.get()) {
            (Some(disk), Some(ends)) => {
                disk.spool.settle(if settled == Settled::GaveUp { ends - left as u64 } else { ends });
                disk.answer(settled == Settled::Delivered);
            }
            (disk, _) if settled == Settled::GaveUp => {
                let reason = if disk.is_some() { self.counters.full_reason() } else { "shutdown" };
                self.counters.drop_signals(left, reason);
            }
            _ => {}
        }
        if settled == Settled::Delivered {
            load.acks.into_iter().for_each(Ack::stored);
        }
        self.count_spooled();
    }

    fn count_spooled(&self) {
        if let Some(disk) = &self.disk {
            self.counters.set_spooled(disk.spool.len());
        }
    }

    /// The last act: nothing comes any more.
    pub(super) fn close(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        let signals = disk.spool.len();
        if let Err(error) = disk.spool.sync() {
            tracing::warn!(
                sink = self.counters.name,
                error = error.to_string(),
                "the spool may be incomplete after a power failure"
            );
        }
        if signals > 0 {
            tracing::info!(
                sink = self.counters.name,
                signals,
                "signals wait in the spool for the next start"
            );
        }
    }
}

impl Disk {
    /// Appends, and counts; `false` if that can't be now.
    fn append<'a>(
        &mut self,
        signals: impl Iterator<Item = &'a telemetry_core::Signal>,
        counters: &SinkCounters,
    ) -> bool {
        match self.spool.append(signals) {
            Ok(()) => {
                if counters.set_full_reason(None) {
                    tracing::info!(sink = counters.name, "the spool takes signals again");
                }
                self.failed_at = None;
                counters.set_spooled(self.spool.len());
                true
            }
            Err(error) => {
                let reason = match &error {
                    AppendError::Full => SPOOL_FULL,
                    AppendError::Io(_) => SPOOL_FAILED,
                };
                if counters.set_full_reason(Some(reason)) {
                    let error = std::error::Error::source(&error)
                        .map_or_else(|| error.to_string(), ToString::to_string);
                    tracing::warn!(
                        sink = counters.name,
                        error,
                        "{reason}: what comes now is dropped and counted"
                    );
                }
                self.failed_at = Some(Instant::now());
                false
            }
        }
    }

    /// Lets somebody wait for what was appended from signal `begins` on.
    fn wait(&mut self, begins: u64, who: Waiting) {
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.retain(|(_, who)| !matches!(who, Waiting::Flush(reply) if reply.is_closed()));
        }
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back((begins..self.spool.tail(), who));
        }
    }

    /// Answers the receipts of what is settled; flushes become due.
    fn answer(&mut self, stored: bool) {
        let head = self.spool.head();
        while self.waiting.front().is_some_and(|(signals, _)| signals.end <= head)
            && let Some((_, who)) = self.waiting.pop_front()
        {
            match who {
                Waiting::Acks(acks) if stored => acks.into_iter().for_each(Ack::stored),
                // Unmarked: not stored.
                Waiting::Acks(_) => {}
                Waiting::Flush(reply) => self.due.push_back(reply),
            }
        }
        if !stored
            && let Some((signals, Waiting::Acks(acks))) = self.waiting.front_mut()
            && signals.start < head
        {
            // Whatever becomes of the rest.
            acks.clear();
        }
    }

    /// A flush before which everything is settled; any, if nothing more will be.
    fn due_flush(&mut self, is_open: bool) -> Option<FlushReply> {
        // Whoever came when nothing was on disk.
        self.answer(true);
        if !is_open {
            for (_, who) in self.waiting.drain(..) {
                if let Waiting::Flush(reply) = who {
                    self.due.push_back(reply);
                }
            }
        }
        self.due.pop_front()
    }
}
