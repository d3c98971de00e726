//! What the index is asked for a filter.

use std::cmp::Ordering;

use telemetry_core::SpanId;
use telemetry_core::query::{Filter, FilterOp};

use super::seal::{Seal, fingerprint};
use super::slots::Slots;
use super::token::{Source, Tokens, hash, key_hash, number, number_hash, rounded, span_id_hash};

/// What the index is asked for one filter: spans with one of some values, or with a number beyond a bound.
#[derive(Debug)]
pub(crate) struct Probe {
    /// Hashes of key and value, any of which will do.
    pub(super) values: Vec<u64>,
    /// Hashes of keys whose numbers are compared with the bound; any will do.
    pub(super) keys: Vec<u64>,
    op: FilterOp,
    bound: f32,
    /// Blocks sealed before know nothing of it.
    pub(super) since: Seal,
}

impl Probe {
    /// `None` for what the index does not know: other values than one, an order of texts.
    pub(crate) fn of(filter: &Filter) -> Option<Self> {
        let Filter { key, op, value } = filter;
        let number = number(value);
        let mut probe = Self {
            values: Vec::new(),
            keys: Vec::new(),
            op: *op,
            bound: number.map_or(0.0, rounded),
            since: Seal::Values,
        };
        match (op, key.as_str()) {
            (FilterOp::Ne, _) | (_, "trace_id") => return None,
            (FilterOp::Eq, _) => probe.values.push(hash(Source::Attribute, key, value)),
            (FilterOp::Gt | FilterOp::Lt, _) if number.is_some() => probe.keys.push(key_hash(key)),
            (FilterOp::Gt | FilterOp::Lt, _) => return None,
        }
        // A span without an attribute of that name has the built-in key.
        match (op, key.as_str()) {
            (FilterOp::Eq, "name" | "kind" | "status") => {
                probe.values.push(hash(Source::BuiltIn, key, value));
            }
            (FilterOp::Eq, "service_name") => {
                probe.values.push(hash(Source::BuiltIn, key, value));
                probe.since = Seal::Starts;
            }
            (FilterOp::Eq, "span_id") => {
                let id: Option<SpanId> = value.as_str().and_then(|id| id.parse().ok());
                probe.values.extend(id.map(span_id_hash));
            }
            (_, "duration_ms") => {
                if number.is_some() {
                    probe.keys.push(number_hash(Source::BuiltIn, key));
                }
                probe.since = Seal::Starts;
            }
            _ => {}
        }
        Some(probe)
    }

    /// Adds the spans whose tokens are in memory.
    pub(super) fn in_tokens(&self, tokens: &Tokens, slots: &mut Slots) {
        let slot = |token: &u64| u16::try_from(token & 0xffff).unwrap_or(0);
        for wanted in &self.values {
            let found = tokens.values.iter().filter(|token| *token >> 16 == *wanted);
            found.for_each(|token| slots.insert(slot(token)));
        }
        for wanted in &self.keys {
            for (_, number, slot) in tokens.numbers.iter().filter(|(key, ..)| key == wanted) {
                if self.is_beyond(*number) {
                    slots.insert(*slot);
                }
            }
        }
    }

    /// Adds the spans that a row of `number` has for a key.
    pub(super) fn in_numbers(&self, mut data: &[u8], wanted: u64, slots: &mut Slots) {
        while let Some((head, after)) = data.split_first_chunk::<12>() {
            let mut hash = [0; 8];
            hash.copy_from_slice(&head[..8]);
            let count = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
            if after.len() < count * 6 {
                return;
            }
            let (numbers, after) = after.split_at(count * 4);
            let (places, after) = after.split_at(count * 2);
            data = after;
            if u64::from_le_bytes(hash) != wanted {
                continue;
            }
            for (number, place) in numbers.as_chunks::<4>().0.iter().zip(places.as_chunks::<2>().0) {
                if self.is_beyond(f32::from_le_bytes(*number)) {
                    slots.insert(u16::from_le_bytes(*place));
                }
            }
        }
    }

    /// Whether a row of `number_range` has a key with numbers that may be among those asked for.
    pub(super) fn may_be_in(&self, ranges: &[u8], wanted: u64) -> bool {
        ranges.as_chunks::<16>().0.iter().any(|[a, b, c, d, e, f, g, h, least @ .., i, j, k, l]| {
            let largest = f32::from_le_bytes([*i, *j, *k, *l]);
            u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) == wanted
                && match self.op {
                    FilterOp::Gt => largest >= self.bound,
                    FilterOp::Lt => f32::from_le_bytes(*least) <= self.bound,
                    FilterOp::Eq => f32::from_le_bytes(*least) <= self.bound && largest >= self.bound,
                    FilterOp::Ne => true,
                }
        })
    }

    /// Whether a number lies beyond the bound, or so near that rounding hides it.
    fn is_beyond(&self, number: f32) -> bool {
        match self.op {
            FilterOp::Gt => number >= self.bound,
            FilterOp::Lt => number <= self.bound,
            FilterOp::Eq => number.partial_cmp(&self.bound) == Some(Ordering::Equal),
            FilterOp::Ne => true,
        }
    }
}

/// Adds the spans that a row of `posting` has for a hash.
pub(super) fn in_shard(data: &[u8], hash: u64, slots: &mut Slots) {
    const GROUP: usize = 2 + super::seal::WORDS * 8;
    let wanted = fingerprint(hash);
    let Some((groups, rest)) = data.split_first_chunk::<2>() else { return };
    let dense_bytes = (usize::from(u16::from_le_bytes(*groups)) * GROUP).min(rest.len());
    let (dense, sparse) = rest.split_at(dense_bytes);
    for group in dense.chunks_exact(GROUP) {
        if group[..2] == wanted.to_le_bytes() {
            slots.insert_bitmap(&group[2..]);
            return;
        }
    }
    let entries = sparse.as_chunks::<4>().0;
    let print_of = |entry: &[u8; 4]| u16::from_le_bytes([entry[2], entry[3]]);
    let first = entries.partition_point(|entry| print_of(entry) < wanted);
    for entry in entries[first..].iter().take_while(|entry| print_of(entry) == wanted) {
        slots.insert(u16::from_le_bytes([entry[0], entry[1]]));
    }
}
