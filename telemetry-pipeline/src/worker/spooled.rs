//! The part of a worker's queue that is on disk, and the receipts and flushes that wait for it.

use std::collections::VecDeque;
use std::error::Error as _;
use std::ops::Range;
use std::time::Duration;

use telemetry_core::Signal;
use tokio::time::Instant;

use super::batch::PendingBatch;
use super::channel::FlushReply;
use crate::accounting::{Ack, FullReason, SinkCounters};
use crate::spool::{AppendError, Spool};

/// Receipts and flushes that wait for signals on disk, at most. Further receipts answer "not stored".
const MAX_WAITING: usize = 65_536;
/// How long nothing is written to the disk after it failed.
pub(super) const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The spool of a worker.
pub(super) struct SpooledPart {
    pub(super) spool: Spool,
    /// What waits until signals are settled, in order, with the numbers of those signals.
    waiting: VecDeque<(Range<u64>, Waiting)>,
    /// Flushes that no longer wait for signals on disk.
    due: VecDeque<FlushReply>,
    failed_at: Option<Instant>,
}

pub(super) enum Waiting {
    Flush(FlushReply),
    Acks(Vec<Ack>),
}

impl SpooledPart {
    pub(super) fn new(spool: Spool) -> Self {
        Self { spool, waiting: VecDeque::new(), due: VecDeque::new(), failed_at: None }
    }

    /// Appends signals. Returns false if that is not possible now.
    pub(super) fn append<'a>(
        &mut self,
        signals: impl Iterator<Item = &'a Signal>,
        counters: &SinkCounters,
    ) -> bool {
        let error = match self.spool.append(signals) {
            Ok(()) => {
                if counters.set_full_reason(FullReason::Memory) {
                    tracing::info!(sink = counters.name, "the spool takes signals again");
                }
                self.failed_at = None;
                counters.set_spooled(self.spool.len());
                return true;
            }
            Err(error) => error,
        };
        let reason = match &error {
            AppendError::Full => FullReason::SpoolFull,
            AppendError::Io(_) => FullReason::SpoolFailed,
        };
        if counters.set_full_reason(reason) {
            let error = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            let reason = reason.as_str();
            tracing::warn!(sink = counters.name, error, "{reason}: new signals are dropped and counted");
        }
        self.failed_at = Some(Instant::now());
        false
    }

    /// Returns true for a while after an append has failed.
    pub(super) fn is_paused(&self) -> bool {
        self.failed_at.is_some_and(|at| at.elapsed() < PAUSE_AFTER_FAILURE)
    }

    /// Ends that pause.
    pub(super) fn resume(&mut self) {
        self.failed_at = None;
    }

    /// Reads the next batch, of at least `signals` signals if there are so many. Returns `None` if it found
    /// only signals that can't be read. These are counted.
    pub(super) fn read(&mut self, signals: usize, counters: &SinkCounters) -> Option<PendingBatch> {
        let read = self.spool.read(signals);
        counters.set_spooled(self.spool.len());
        if read.unreadable > 0 {
            counters.fail(read.unreadable, "spool unreadable");
            self.answer(false);
        }
        let has_chunks = !read.chunks.is_empty();
        has_chunks.then(|| PendingBatch::from_spool(read.chunks, read.signals, self.spool.next()))
    }

    /// Lets something wait for all signals that were appended from number `begin` on.
    pub(super) fn wait(&mut self, begin: u64, waiting: Waiting) {
        if self.waiting.len() >= MAX_WAITING {
            self.waiting
                .retain(|(_, waiting)| !matches!(waiting, Waiting::Flush(reply) if reply.is_closed()));
        }
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back((begin..self.spool.tail(), waiting));
        }
    }

    /// Answers the receipts of settled signals: as stored, or as not stored. Their flushes become due.
    pub(super) fn answer(&mut self, stored: bool) {
        let head = self.spool.head();
        while self.waiting.front().is_some_and(|(signals, _)| signals.end <= head)
            && let Some((_, waiting)) = self.waiting.pop_front()
        {
            match waiting {
                Waiting::Acks(acks) if stored => acks.into_iter().for_each(Ack::stored),
                // Dropping them means "not stored".
                Waiting::Acks(_) => {}
                Waiting::Flush(reply) => self.due.push_back(reply),
            }
        }
        if !stored
            && let Some((signals, Waiting::Acks(acks))) = self.waiting.front_mut()
            && signals.start < head
        {
            // A part of the submission is not stored, so its receipt can't complete.
            acks.clear();
        }
    }

    /// Returns a flush that waits for no more signals. If the sink has ended, no signals will be settled any
    /// more, so every flush is returned.
    pub(super) fn due_flush(&mut self, is_open: bool) -> Option<FlushReply> {
        // Answers those that came when nothing was on disk.
        self.answer(true);
        if !is_open {
            for (_, waiting) in self.waiting.drain(..) {
                if let Waiting::Flush(reply) = waiting {
                    self.due.push_back(reply);
                }
            }
        }
        self.due.pop_front()
    }
}
