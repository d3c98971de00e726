//! The counters behind the ledger.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ledger::{IngestLedger, SinkLedger, SinkState};

/// Counters of submitted events.
#[derive(Debug, Default)]
pub(crate) struct IngestCounters {
    pub(crate) refused_full: AtomicU64,
    pub(crate) refused_closed: AtomicU64,
    /// Texts cut before they entered the queue. The ledger adds them to the assembler's.
    pub(crate) truncated_values: AtomicU64,
}

impl IngestCounters {
    /// Returns the counts, with `accepted` as the assembler has counted it.
    pub(crate) fn read(&self, accepted: u64) -> IngestLedger {
        IngestLedger {
            accepted,
            refused_full: self.refused_full.load(Ordering::Relaxed),
            refused_closed: self.refused_closed.load(Ordering::Relaxed),
        }
    }
}

/// Counters of one sink.
#[derive(Debug, Default)]
pub(crate) struct SinkCounters {
    pub(crate) name: &'static str,
    is_store: bool,
    accepted: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    retries: AtomicU64,
    spooled: AtomicU64,
    full_reason: AtomicU8,
    state: AtomicU8,
    failures: Mutex<Failures>,
}

/// Why signals were not delivered.
#[derive(Debug, Default)]
struct Failures {
    /// The sink's thread outlived the pipeline. Nothing it reports from now on is counted.
    is_abandoned: bool,
    reasons: BTreeMap<String, u64>,
    last_error: Option<String>,
}

/// Why a worker's queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FullReason {
    /// The bound of its memory is reached.
    Memory,
    /// The bound of its spool is reached.
    SpoolFull,
    /// Its spool can't be written.
    SpoolFailed,
}

impl FullReason {
    const ALL: [Self; 3] = [Self::Memory, Self::SpoolFull, Self::SpoolFailed];

    /// Returns the reason as the ledger shows it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "queue full",
            Self::SpoolFull => "spool full",
            Self::SpoolFailed => "spool failed",
        }
    }
}

/// Different reasons remembered at most. Further ones count as `other`.
const MAX_REASONS: usize = 32;

impl Failures {
    fn count(&mut self, signals: u64, reason: &str) {
        if signals == 0 {
            return;
        }
        let known = self.reasons.contains_key(reason) || self.reasons.len() < MAX_REASONS;
        let reason = if known { reason } else { "other" };
        *self.reasons.entry(reason.to_owned()).or_default() += signals;
    }
}

impl SinkCounters {
    pub(crate) fn new(name: &'static str, is_store: bool) -> Self {
        Self { name, is_store, ..Self::default() }
    }

    pub(crate) fn accept(&self, signals: u64) {
        self.accepted.fetch_add(signals, Ordering::Relaxed);
    }

    pub(crate) fn deliver(&self, signals: u64) {
        let failures = self.failures();
        if !failures.is_abandoned {
            self.delivered.fetch_add(signals, Ordering::Relaxed);
        }
    }

    pub(crate) fn fail(&self, signals: u64, reason: &str) {
        self.count_undelivered(&self.failed, signals, reason);
    }

    pub(crate) fn drop_signals(&self, signals: u64, reason: &str) {
        self.count_undelivered(&self.dropped, signals, reason);
    }

    fn count_undelivered(&self, counter: &AtomicU64, signals: u64, reason: &str) {
        let mut failures = self.failures();
        if !failures.is_abandoned {
            counter.fetch_add(signals, Ordering::Relaxed);
            failures.count(signals, reason);
        }
    }

    /// Moves delivered signals to the failed ones: the sink reports that it lost them afterwards.
    pub(crate) fn take_back(&self, signals: u64, reason: &str) {
        let mut failures = self.failures();
        if failures.is_abandoned {
            return;
        }
        let taken = signals.min(self.delivered.load(Ordering::Relaxed));
        self.delivered.fetch_sub(taken, Ordering::Relaxed);
        self.failed.fetch_add(taken, Ordering::Relaxed);
        failures.count(taken, reason);
    }

    /// Counts all signals pending in memory as dropped, because the sink's thread did not end in time.
    /// Nothing is counted for this sink afterwards.
    pub(crate) fn abandon(&self, reason: &str) {
        let mut failures = self.failures();
        let left = self.pending().saturating_sub(self.spooled.load(Ordering::Relaxed));
        self.dropped.fetch_add(left, Ordering::Relaxed);
        failures.count(left, reason);
        failures.last_error.get_or_insert_with(|| "its thread did not end in time".to_owned());
        self.state.store(SinkState::Failed as u8, Ordering::Relaxed);
        failures.is_abandoned = true;
    }

    pub(crate) fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_spooled(&self, signals: u64) {
        self.spooled.store(signals, Ordering::Relaxed);
    }

    /// Returns the reason to count if the queue is full now.
    pub(crate) fn full_reason(&self) -> &'static str {
        let place = usize::from(self.full_reason.load(Ordering::Relaxed));
        FullReason::ALL.get(place).unwrap_or(&FullReason::Memory).as_str()
    }

    /// Sets that reason. Returns true if it has changed.
    pub(crate) fn set_full_reason(&self, reason: FullReason) -> bool {
        self.full_reason.swap(reason as u8, Ordering::Relaxed) != reason as u8
    }

    pub(crate) fn set_state(&self, state: SinkState) {
        let failures = self.failures();
        if !failures.is_abandoned {
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
        let mut failures = self.failures();
        if !failures.is_abandoned {
            failures.last_error = Some(error);
        }
    }

    fn pending(&self) -> u64 {
        let settled = self.delivered.load(Ordering::Relaxed)
            + self.failed.load(Ordering::Relaxed)
            + self.dropped.load(Ordering::Relaxed);
        // Read last: every settled signal was accepted before.
        self.accepted.load(Ordering::Relaxed).saturating_sub(settled)
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read(&self) -> SinkLedger {
        let (delivered, failed, dropped) = (
            self.delivered.load(Ordering::Relaxed),
            self.failed.load(Ordering::Relaxed),
            self.dropped.load(Ordering::Relaxed),
        );
        // Read last: every settled signal was accepted before.
        let accepted = self.accepted.load(Ordering::Relaxed);
        let failures = self.failures();
        SinkLedger {
            name: self.name.to_owned(),
            state: self.state(),
            is_store: self.is_store,
            accepted,
            delivered,
            failed,
            dropped,
            pending: accepted.saturating_sub(delivered + failed + dropped),
            spooled: self.spooled.load(Ordering::Relaxed),
            reasons: failures.reasons.clone(),
            retries: self.retries.load(Ordering::Relaxed),
            last_error: failures.last_error.clone(),
        }
    }
}
