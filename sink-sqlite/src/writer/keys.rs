//! The keys by which the writer finds spans and ends, and a bounded set of them.

use std::collections::HashSet;
use std::hash::Hash;

use telemetry_core::{Span, SpanKey};

use crate::rows::span_id_bits;

/// Keys in memory at most. Beyond it, every span is looked up in the file.
pub(super) const MAX_KEYS: u32 = 1 << 18;

/// A set of keys that, when it gets too large, only knows that it may contain a key.
#[derive(Debug)]
pub(super) struct KeySet<K> {
    keys: HashSet<K>,
    is_incomplete: bool,
}

impl<K> Default for KeySet<K> {
    fn default() -> Self {
        Self { keys: HashSet::new(), is_incomplete: false }
    }
}

impl<K: Eq + Hash> KeySet<K> {
    pub(super) fn may_contain(&self, key: &K) -> bool {
        self.is_incomplete || self.keys.contains(key)
    }

    /// Returns true if the set certainly contains no key.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_incomplete && self.keys.is_empty()
    }

    pub(super) fn insert(&mut self, key: K) {
        if self.keys.len() < MAX_KEYS as usize {
            self.keys.insert(key);
        } else {
            self.is_incomplete = true;
        }
    }

    pub(super) fn remove(&mut self, key: &K) {
        self.keys.remove(key);
    }
}

/// The key of an incomplete span: the number of its trace and the bits of its id.
pub(super) type OpenKey = (i64, i64);
/// The key of an end that waits: the trace id that it carried and the bits of its span's id.
pub(super) type WaitingKey = (u128, i64);

pub(super) fn open_key(trace: i64, span: &Span) -> OpenKey {
    (trace, span_id_bits(span.span_id))
}

pub(super) fn waiting_key(key: SpanKey) -> WaitingKey {
    (key.trace_id.as_u128(), span_id_bits(key.span_id))
}

/// Returns the ids that the events of a span carried.
pub(super) fn carried_key(span: &Span) -> SpanKey {
    SpanKey::new(span.submitted_trace_id.unwrap_or(span.trace_id), span.span_id)
}
