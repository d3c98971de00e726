//! What a filter asks of the index.

use std::cmp::Ordering;

use telemetry_core::SpanId;
use telemetry_core::query::{Filter, FilterOp};

use super::block::{Seal, SlotSet};
use super::encoding::{each_number, ranges_of};
use super::tokens::{Source, Tokens, hash, key_hash, number, number_hash, rounded, span_id_hash};

/// What one filter asks of the index: spans that have one of some values, or a number beyond a bound.
#[derive(Debug)]
pub(crate) struct Condition {
    /// Hashes of a key and a value. One of them is enough.
    pub(super) values: Vec<u64>,
    /// Hashes of keys whose numbers are compared with the bound. One of them is enough.
    pub(super) keys: Vec<u64>,
    op: FilterOp,
    bound: f32,
    /// Blocks with less in their postings can't answer this condition.
    pub(super) needs: Seal,
}

impl Condition {
    /// Returns the condition of a filter. Returns `None` for what the index can't answer: `ne`, an order of texts, and
    /// trace ids.
    pub(crate) fn of(filter: &Filter) -> Option<Self> {
        let Filter { key, op, value } = filter;
        let number = number(value);
        let mut condition = Self {
            values: Vec::new(),
            keys: Vec::new(),
            op: *op,
            bound: number.map_or(0.0, rounded),
            needs: Seal::Values,
        };
        match (op, key.as_str()) {
            (FilterOp::Ne, _) | (_, "trace_id") => return None,
            (FilterOp::Eq, _) => condition.values.push(hash(Source::Attribute, key, value)),
            (FilterOp::Gt | FilterOp::Lt, _) if number.is_some() => condition.keys.push(key_hash(key)),
            (FilterOp::Gt | FilterOp::Lt, _) => return None,
        }
        // The built-in key counts for spans that have no attribute of that name.
        match (op, key.as_str()) {
            (FilterOp::Eq, "name" | "kind" | "status") => {
                condition.values.push(hash(Source::BuiltIn, key, value));
            }
            (FilterOp::Eq, "service_name") => {
                condition.values.push(hash(Source::BuiltIn, key, value));
                condition.needs = Seal::Starts;
            }
            (FilterOp::Eq, "span_id") => {
                let id: Option<SpanId> = value.as_str().and_then(|id| id.parse().ok());
                condition.values.extend(id.map(span_id_hash));
            }
            (_, "duration_ms") => {
                if number.is_some() {
                    condition.keys.push(number_hash(Source::BuiltIn, key));
                }
                condition.needs = Seal::Starts;
            }
            _ => {}
        }
        Some(condition)
    }

    /// Adds the spans that tokens in memory have.
    pub(super) fn find_in_tokens(&self, tokens: &Tokens, slots: &mut SlotSet) {
        for hash in &self.values {
            tokens.find(*hash, slots);
        }
        for wanted in &self.keys {
            for (_, number, slot) in tokens.numbers.iter().filter(|(key, ..)| key == wanted) {
                if self.may_match(*number) {
                    slots.insert(*slot);
                }
            }
        }
    }

    /// Adds the spans that a row of `number` has for a key.
    pub(super) fn find_in_numbers(&self, data: &[u8], key: u64, slots: &mut SlotSet) {
        each_number(data, key, |number, slot| {
            if self.may_match(number) {
                slots.insert(slot);
            }
        });
    }

    /// Returns true if a row of `number_range` has a key with numbers that the condition may match.
    pub(super) fn may_be_in(&self, ranges: &[u8], key: u64) -> bool {
        ranges_of(ranges, key).any(|(least, largest)| match self.op {
            FilterOp::Gt => largest >= self.bound,
            FilterOp::Lt => least <= self.bound,
            FilterOp::Eq => least <= self.bound && largest >= self.bound,
            FilterOp::Ne => true,
        })
    }

    /// Returns true if the number is beyond the bound, or so near that rounding may hide it.
    fn may_match(&self, number: f32) -> bool {
        match self.op {
            FilterOp::Gt => number >= self.bound,
            FilterOp::Lt => number <= self.bound,
            FilterOp::Eq => number.partial_cmp(&self.bound) == Some(Ordering::Equal),
            FilterOp::Ne => true,
        }
    }
}
