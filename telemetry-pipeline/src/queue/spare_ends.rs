//! A place for the ends of spans whose start was accepted, for when their ring buffer is full.
//!
//! Without it, overload would accept starts whose ends it refuses, and the spans would stay open for a day. Each
//! accepted start can bring one end here, so its size is bounded by the spans that the program has open.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::record::Record;

/// Ends that wait for the assembler thread. Only an overloaded queue uses it.
#[derive(Debug, Default)]
pub(super) struct SpareEnds {
    ends: Mutex<Vec<Record>>,
    /// Read without the lock.
    has_some: AtomicBool,
}

impl SpareEnds {
    #[cold]
    pub(super) fn push(&self, end: Record) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.push(end);
        self.has_some.store(true, Ordering::Release);
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.has_some.load(Ordering::Acquire)
    }

    /// Takes all ends. What was logged before them is in the rings.
    pub(super) fn take(&self) -> Vec<Record> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_some.store(false, Ordering::Release);
        std::mem::take(&mut *ends)
    }
}
