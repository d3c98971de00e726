//! Turns cumulative streams into increments: what was added since the point before.
//!
//! A stream is a series with its start time, as the OTLP data model defines it. A restarted sender has another
//! start time and counts from zero. The latest reading of each stream is stored in the same commit as the
//! increment it explains, so neither a restart nor a crash of this program counts anything twice.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use telemetry_core::{MetricKind, StreamMark, Submission, Timestamp};

use super::reading::{CumulativePoint, Reading};

/// Largest number of streams in memory.
const MAX_STREAMS: usize = 1 << 16;

/// The latest reading of each cumulative stream.
///
/// The store is the authority on readings, and this is a cache of them. To convert points, first ask the
/// store for the [`unknown`](Self::unknown) streams and [`learn`](Self::learn) its answer. Then submit the
/// [`increments`](Self::increments). Then report the outcome with [`stored`](Self::stored) or
/// [`forget`](Self::forget), and let no other request use the streams until then.
///
/// Without a store only memory knows the readings. A stream beyond the 65,536 latest ones counts from zero
/// again.
///
/// ```
/// use telemetry_core::{MetricValue, Submission, Timestamp};
/// use telemetry_otlp::{Encoding, OtlpSignal, Streams, decode};
///
/// let mut streams = Streams::default();
/// let mut added = Vec::new();
/// for (time, sum) in [(1, 5), (2, 8)] {
///     let body = format!(r#"{{"resourceMetrics": [{{"scopeMetrics": [{{"metrics": [{{"name": "requests", "sum": {{
///         "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [{{"timeUnixNano": {time}, "asInt": {sum}}}]
///     }}}}]}}]}}]}}"#);
///     let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
///     let decoded = decode(OtlpSignal::Metrics, Encoding::Json, body.as_bytes(), 16 << 20, now)?;
///     let mut increments = streams.increments(decoded.cumulative, false);
///     for submission in increments.take_submissions() {
///         let Submission::Metric(point) = submission else { panic!("not a metric point") };
///         added.push(point.value);
///     }
///     streams.stored(increments);
/// }
/// assert_eq!(added, [MetricValue::Int(5), MetricValue::Int(3)]);
/// # Ok::<(), telemetry_otlp::DecodeError>(())
/// ```
#[derive(Debug, Default)]
pub struct Streams {
    /// Each stream with the number of the request that used it last.
    states: HashMap<u128, (u64, State)>,
    /// Number of the latest request.
    latest_request: u64,
}

/// The latest reading of a stream. A [`StreamMark`] has it as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    time: Timestamp,
    reading: Reading,
}

/// The increments of a request, until the outcome of storing them is known.
#[derive(Debug, Default)]
pub struct Increments {
    submissions: Vec<Submission>,
    /// The latest reading of each stream in the request.
    latest: HashMap<u128, State>,
}

impl Streams {
    /// Returns the streams of `points` that memory does not know, to ask
    /// [`TraceStore::stream_marks`](telemetry_core::TraceStore::stream_marks).
    pub fn unknown(&self, points: &[CumulativePoint]) -> Vec<u128> {
        let streams = points.iter().map(|point| point.stream);
        let mut unknown: Vec<u128> = streams.filter(|stream| !self.states.contains_key(stream)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    /// Adds the marks of a store.
    pub fn learn(&mut self, marks: Vec<StreamMark>) {
        for mark in marks {
            // A state that can't be parsed is of a later version. The stream counts from zero again.
            if let Ok(state) = serde_json::from_str(&mark.state) {
                self.states.insert(mark.stream, (self.latest_request, state));
            }
        }
    }

    /// Returns what `points` add to their streams. `with_marks` adds the new reading of each stream to the
    /// submissions, for a store to keep.
    ///
    /// A point that is not newer than the latest of its stream adds nothing: it was sent twice, or late.
    pub fn increments(&self, points: Vec<CumulativePoint>, with_marks: bool) -> Increments {
        let mut increments = Increments::default();
        for CumulativePoint { stream, series, time, reading } in points {
            let known = || self.states.get(&stream).map(|(_, state)| state);
            let before = increments.latest.get(&stream).or_else(known);
            if before.is_some_and(|before| time <= before.time) {
                continue;
            }
            let is_monotonic = series.kind == MetricKind::Counter;
            let added = before.map(|before| reading.since(&before.reading, is_monotonic));
            let mut points = added.as_ref().unwrap_or(&reading).points(&series, time);
            let state = State { time, reading };
            if with_marks
                && let Some(first) = points.first_mut()
                && let Ok(text) = serde_json::to_string(&state)
            {
                first.stream = Some(Arc::new(StreamMark { stream, state: text.into() }));
            }
            increments
                .submissions
                .extend(points.into_iter().map(|point| Submission::Metric(Box::new(point))));
            increments.latest.insert(stream, state);
        }
        increments
    }

    /// Remembers the readings of stored increments.
    pub fn stored(&mut self, increments: Increments) {
        self.latest_request += 1;
        for (stream, state) in increments.latest {
            self.states.insert(stream, (self.latest_request, state));
        }
        self.make_room();
    }

    /// Forgets the streams of increments that a store may or may not have committed. The store knows their
    /// readings and is asked again.
    pub fn forget(&mut self, increments: &Increments) {
        for stream in increments.latest.keys() {
            self.states.remove(stream);
        }
    }

    /// Forgets the half that was not used for the longest time, if there are too many streams.
    fn make_room(&mut self) {
        if self.states.len() <= MAX_STREAMS {
            return;
        }
        let mut requests: Vec<u64> = self.states.values().map(|(request, _)| *request).collect();
        let middle = requests.len() / 2;
        let (_, &mut median, _) = requests.select_nth_unstable(middle);
        // Many streams may be as old as the median: of those, only as many go as are needed.
        let mut surplus = middle - requests.iter().filter(|request| **request < median).count();
        self.states.retain(|_, (request, _)| {
            let is_surplus = *request == median && surplus > 0;
            surplus -= usize::from(is_surplus);
            *request >= median && !is_surplus
        });
    }
}

impl Increments {
    /// Takes the metric points to submit.
    pub fn take_submissions(&mut self) -> Vec<Submission> {
        std::mem::take(&mut self.submissions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_streams_stay_when_all_are_of_the_same_age() {
        let mut streams = Streams::default();
        let state = State {
            time: Timestamp::from_nanos(1),
            reading: Reading::Number(telemetry_core::MetricValue::Int(1)),
        };
        for stream in 0..=MAX_STREAMS as u128 {
            streams.states.insert(stream, (7, state.clone()));
        }
        streams.make_room();
        assert_eq!(streams.states.len(), MAX_STREAMS.div_ceil(2) + 1);
    }
}
