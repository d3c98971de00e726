//! Cumulative streams become increments: what was added since the point before.
//!
//! A stream is a series with its start time, as the OTLP data model tells streams apart; a restarted
//! sender has another start time and counts from zero. The latest reading of each stream is kept by
//! the store, in the same commit as the increment it explains, so neither a restart nor a crash of
//! this server counts anything twice. Readings in memory only save asking the store.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use telemetry_core::{MetricKind, QueryError, StreamMark, Submission, Timestamp, TraceStore};
use tokio::sync::{Mutex, MutexGuard};

use super::metrics::{Cumulative, Reading};

/// Streams held in memory at most. Of those beyond it the store knows the latest reading; without a
/// store, a stream not heard of for longer than all these counts from zero again.
const MAX_STREAMS: usize = 1 << 16;

/// The latest reading of each stream.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    states: HashMap<u128, (u64, State)>,
    /// Counts requests: what was heard of in the latest is the youngest.
    age: u64,
}

/// The latest reading of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    time: Timestamp,
    reading: Reading,
}

/// The increments of a request. While it lives no other request changes a stream; dropped without
/// [`Settled::stored`], nobody knows what became of the increments.
#[derive(Debug)]
pub(crate) struct Settled<'a> {
    known: MutexGuard<'a, Known>,
    /// What is to be stored.
    pub(crate) increments: Vec<Submission>,
    latest: HashMap<u128, State>,
    has_store: bool,
}

impl Streams {
    /// The increments that `points` mean.
    ///
    /// # Errors
    ///
    /// [`QueryError`] when the store can't be asked for streams that memory does not know.
    pub(crate) async fn settle(
        &self,
        points: Vec<Cumulative>,
        store: Option<&Arc<dyn TraceStore>>,
    ) -> Result<Settled<'_>, QueryError> {
        let mut known = self.0.lock().await;
        if let Some(store) = store {
            known.ask(&points, store).await?;
        }
        let has_store = store.is_some();
        let mut settled = Settled { known, increments: Vec::new(), latest: HashMap::new(), has_store };
        for point in points {
            settled.add(point);
        }
        Ok(settled)
    }
}

impl Known {
    /// Learns from the store what it knows of streams that memory does not hold.
    async fn ask(&mut self, points: &[Cumulative], store: &Arc<dyn TraceStore>) -> Result<(), QueryError> {
        let mut unknown: Vec<u128> = points
            .iter()
            .map(|point| point.stream)
            .filter(|stream| !self.states.contains_key(stream))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() {
            return Ok(());
        }
        for mark in store.stream_marks(&unknown).await? {
            // One that can't be read is of a later version: the stream counts anew.
            if let Ok(state) = serde_json::from_str(&mark.state) {
                self.states.insert(mark.stream, (self.age, state));
            }
        }
        Ok(())
    }

    /// Forgets the older half once there are too many.
    fn make_room(&mut self) {
        if self.states.len() <= MAX_STREAMS {
            return;
        }
        let mut ages: Vec<u64> = self.states.values().map(|(age, _)| *age).collect();
        let middle = ages.len() / 2;
        let (_, &mut median, _) = ages.select_nth_unstable(middle);
        self.states.retain(|_, (age, _)| *age > median);
    }
}

impl Settled<'_> {
    /// A point that is not newer than the latest says nothing: it came twice, or late.
    fn add(&mut self, point: Cumulative) {
        let Cumulative { stream, series, time, reading } = point;
        let before =
            self.latest.get(&stream).or_else(|| self.known.states.get(&stream).map(|(_, state)| state));
        if before.is_some_and(|before| time <= before.time) {
            return;
        }
        let is_monotonic = series.kind() == MetricKind::Counter;
        let added = before.map(|before| reading.since(&before.reading, is_monotonic));
        let mut points = added.as_ref().unwrap_or(&reading).points(&series, time);
        let state = State { time, reading };
        if self.has_store
            && let Some(first) = points.first_mut()
            && let Ok(text) = serde_json::to_string(&state)
        {
            first.stream = Some(Arc::new(StreamMark { stream, state: text.into() }));
        }
        self.increments.extend(points.into_iter().map(|point| Submission::Metric(Box::new(point))));
        self.latest.insert(stream, state);
    }

    /// The increments are stored.
    pub(crate) fn stored(mut self) {
        self.known.age += 1;
        let age = self.known.age;
        for (stream, state) in self.latest.drain() {
            self.known.states.insert(stream, (age, state));
        }
        self.known.make_room();
    }
}

impl Drop for Settled<'_> {
    /// What was not said to be stored may be stored all the same. The store knows: it is asked next time.
    fn drop(&mut self) {
        if self.has_store {
            for stream in self.latest.keys() {
                self.known.states.remove(stream);
            }
        }
    }
}
