//! A map that knows its oldest entry, so that its size can be bounded by count and age.

use std::collections::{HashMap, VecDeque};

use telemetry_core::{SpanKey, Timestamp};

/// Entries by span, in order of arrival. The keys come from outside, so the hash is seeded.
#[derive(Debug)]
pub(super) struct ArrivalMap<T> {
    entries: HashMap<SpanKey, Entry<T>, foldhash::fast::RandomState>,
    /// Arrivals in order. It also contains arrivals whose entry was removed or replaced: they are skipped,
    /// and deleted from time to time.
    order: VecDeque<(SpanKey, u64)>,
    next: u64,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    arrival: u64,
    arrived: Timestamp,
}

impl<T> Default for ArrivalMap<T> {
    fn default() -> Self {
        Self { entries: HashMap::default(), order: VecDeque::new(), next: 0 }
    }
}

impl<T> ArrivalMap<T> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn contains(&self, key: SpanKey) -> bool {
        self.entries.contains_key(&key)
    }

    pub(super) fn get_mut(&mut self, key: SpanKey) -> Option<&mut T> {
        self.entries.get_mut(&key).map(|entry| &mut entry.value)
    }

    pub(super) fn insert(&mut self, key: SpanKey, value: T, arrived: Timestamp) {
        let arrival = self.next;
        self.next += 1;
        self.entries.insert(key, Entry { value, arrival, arrived });
        self.order.push_back((key, arrival));
        if self.order.len() > 2 * self.entries.len() + 1_024 {
            let entries = &self.entries;
            self.order
                .retain(|(key, arrival)| entries.get(key).is_some_and(|entry| entry.arrival == *arrival));
        }
    }

    pub(super) fn remove(&mut self, key: SpanKey) -> Option<T> {
        self.entries.remove(&key).map(|entry| entry.value)
    }

    /// Returns the arrival time of the oldest entry.
    pub(super) fn oldest(&mut self) -> Option<Timestamp> {
        while let Some((key, arrival)) = self.order.front() {
            match self.entries.get(key) {
                Some(entry) if entry.arrival == *arrival => return Some(entry.arrived),
                Some(_) | None => self.order.pop_front(),
            };
        }
        None
    }

    /// Removes the oldest entry and returns it.
    pub(super) fn pop_oldest(&mut self) -> Option<(SpanKey, T)> {
        self.oldest()?;
        let (key, _) = self.order.pop_front()?;
        self.remove(key).map(|value| (key, value))
    }

    /// Returns the keys of all entries, in no order.
    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = SpanKey> {
        self.entries.keys().copied()
    }
}
