//! The ledger: nothing is lost silently.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::assembler::AssemblerCounts;

/// What became of everything that was logged.
///
/// At the door: `logged = accepted + refused`. Per sink: `accepted = delivered + failed + dropped + pending`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Before the queue.
    pub ingest: IngestLedger,
    /// In the assembler.
    pub assembler: AssemblerCounts,
    /// Each sink, in the order of the configuration.
    pub sinks: Vec<SinkLedger>,
}

/// Events submitted to the pipeline, before the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IngestLedger {
    /// Events that entered the queue.
    pub accepted: u64,
    /// Events refused because the queue, its byte budget or a store was full.
    pub refused_full: u64,
    /// Events refused because the pipeline was shutting down.
    pub refused_closed: u64,
}

/// What became of the signals one sink was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinkLedger {
    /// The sink's name.
    pub name: String,
    /// `running`, `closed` (it gave up or was shut down) or `failed` (it panicked, or did not
    /// end in time).
    pub state: SinkState,
    /// Signals that were for this sink.
    pub accepted: u64,
    /// Signals it delivered.
    pub delivered: u64,
    /// Signals it could not deliver, by reason.
    pub failed: u64,
    /// Signals it was never given, by reason.
    pub dropped: u64,
    /// Signals that wait in memory or on disk.
    pub pending: u64,
    /// How many of those are on disk, where a restart finds them.
    pub spooled: u64,
    /// Why signals failed or were dropped, and how many of each.
    pub reasons: BTreeMap<String, u64>,
    /// Tries that failed and were tried again.
    pub retries: u64,
    /// The latest error, in words.
    pub last_error: Option<String>,
}

/// How a sink is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkState {
    /// It takes signals.
    #[default]
    Running,
    /// It was shut down, or gave up for good.
    Closed,
    /// It panicked, or its thread did not end in time.
    Failed,
}

/// Counters of submitted events.
#[derive(Debug, Default)]
pub(crate) struct IngestCounters {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused_full: AtomicU64,
    pub(crate) refused_closed: AtomicU64,
    /// Texts cut before they entered the queue; the ledger shows them with the assembler's.
    pub(crate) truncated_values: AtomicU64,
}

impl IngestCounters {
    pub(crate) fn read(&self) -> IngestLedger {
        IngestLedger {
            accepted: self.accepted.load(Ordering::Relaxed),
            refused_full: self.refused_full.load(Ordering::Relaxed),
            refused_closed: self.refused_closed.load(Ordering::Relaxed),
        }
    }
}

/// Counters of one sink.
#[derive(Debug, Default)]
pub(crate) struct SinkCounters {
    pub(crate) name: &'static str,
    accepted: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    retries: AtomicU64,
    spooled: AtomicU64,
    /// Place in [`FULL_REASONS`].
    full_reason: AtomicU8,
    state: AtomicU8,
    words: Mutex<Words>,
}

#[derive(Debug, Default)]
struct Words {
    /// The sink's thread outlived the pipeline: what it still says is not counted.
    is_abandoned: bool,
    reasons: BTreeMap<String, u64>,
    last_error: Option<String>,
}

/// Why a worker's queue takes no more.
const FULL_REASONS: [&str; 3] = ["queue full", SPOOL_FULL, SPOOL_FAILED];
/// The bound of the spool is reached.
pub(crate) const SPOOL_FULL: &str = "spool full";
/// The spool can't be written to.
pub(crate) const SPOOL_FAILED: &str = "spool failed";

/// Different reasons remembered at most; further ones count as `other`.
const MAX_REASONS: usize = 32;

impl Words {
    fn count(&mut self, signals: usize, reason: &str) {
        if signals == 0 {
            return;
        }
        let known = self.reasons.contains_key(reason) || self.reasons.len() < MAX_REASONS;
        let reason = if known { reason } else { "other" };
        *self.reasons.entry(reason.to_owned()).or_default() += signals as u64;
    }
}

impl SinkCounters {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    pub(crate) fn accept(&self, signals: usize) {
        self.accepted.fetch_add(signals as u64, Ordering::Relaxed);
    }

    pub(crate) fn deliver(&self, signals: usize) {
        let words = self.words();
        if !words.is_abandoned {
            self.delivered.fetch_add(signals as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn fail(&self, signals: usize, reason: &str) {
        self.lose(&self.failed, signals, reason);
    }

    fn lose(&self, counter: &AtomicU64, signals: usize, reason: &str) {
        let mut words = self.words();
        if !words.is_abandoned {
            counter.fetch_add(signals as u64, Ordering::Relaxed);
            words.count(signals, reason);
        }
    }

    /// Counts delivered signals as failed after all.
    pub(crate) fn take_back(&self, signals: u64, reason: &str) {
        let mut words = self.words();
        if words.is_abandoned {
            return;
        }
        let taken = signals.min(self.delivered.load(Ordering::Relaxed));
        self.delivered.fetch_sub(taken, Ordering::Relaxed);
        self.failed.fetch_add(taken, Ordering::Relaxed);
        words.count(usize::try_from(taken).unwrap_or(usize::MAX), reason);
    }

    pub(crate) fn drop_signals(&self, signals: usize, reason: &str) {
        self.lose(&self.dropped, signals, reason);
    }

    /// Counts what is pending in memory as dropped, and nothing more: the sink's thread did not end in time.
    pub(crate) fn abandon(&self, reason: &str) {
        let mut words = self.words();
        let left = self.pending_in_memory();
        self.dropped.fetch_add(left, Ordering::Relaxed);
        words.count(usize::try_from(left).unwrap_or(usize::MAX), reason);
        words.last_error.get_or_insert_with(|| "its thread did not end in time".to_owned());
        self.state.store(SinkState::Failed as u8, Ordering::Relaxed);
        words.is_abandoned = true;
    }

    pub(crate) fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_spooled(&self, signals: u64) {
        self.spooled.store(signals, Ordering::Relaxed);
    }

    /// What is pending and not on disk.
    pub(crate) fn pending_in_memory(&self) -> u64 {
        self.pending().saturating_sub(self.spooled.load(Ordering::Relaxed))
    }

    /// Why the queue takes no more, should it take no more.
    pub(crate) fn full_reason(&self) -> &'static str {
        FULL_REASONS[usize::from(self.full_reason.load(Ordering::Relaxed)) % FULL_REASONS.len()]
    }

    /// Sets that reason, memory's own if `None`; says whether it is another than before.
    pub(crate) fn set_full_reason(&self, reason: Option<&'static str>) -> bool {
        let place = match reason {
            None => 0,
            Some(SPOOL_FULL) => 1,
            Some(_) => 2,
        };
        self.full_reason.swap(place, Ordering::Relaxed) != place
    }

    pub(crate) fn set_state(&self, state: SinkState) {
        let words = self.words();
        if !words.is_abandoned {
            self.state.store(state as u8, Ordering::Relaxed);
        }
    }

    pub(crate) fn state(&self) -> SinkState {
        match self.state.load(Ordering::Relaxed) {
            0 => SinkState::Running,
            1 => SinkState::Closed,
            _ => SinkState::Failed,
        }
    }

    pub(crate) fn set_error(&self, error: String) {
        let mut words = self.words();
        if !words.is_abandoned {
            words.last_error = Some(error);
        }
    }

    pub(crate) fn pending(&self) -> u64 {
        let settled = self.delivered.load(Ordering::Relaxed)
            + self.failed.load(Ordering::Relaxed)
            + self.dropped.load(Ordering::Relaxed);
        self.accepted.load(Ordering::Relaxed).saturating_sub(settled)
    }

    fn words(&self) -> std::sync::MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read(&self) -> SinkLedger {
        let (delivered, failed, dropped) = (
            self.delivered.load(Ordering::Relaxed),
            self.failed.load(Ordering::Relaxed),
            self.dropped.load(Ordering::Relaxed),
        );
        // Read last: what is settled was accepted before.
        let accepted = self.accepted.load(Ordering::Relaxed);
        let words = self.words();
        SinkLedger {
            name: self.name.to_owned(),
            state: self.state(),
            accepted,
            delivered,
            failed,
            dropped,
            pending: accepted.saturating_sub(delivered + failed + dropped),
            spooled: self.spooled.load(Ordering::Relaxed),
            reasons: words.reasons.clone(),
            retries: self.retries.load(Ordering::Relaxed),
            last_error: words.last_error.clone(),
        }
    }
}
