//! Splits a batch into parts and sorts the signals of each part by the table they go to, without reading the file.

use std::collections::HashMap;
use std::sync::Arc;

use telemetry_core::{
    Batch, LogRecord, MetricPoint, Signal, Span, SpanKey, SpanState, Timestamp, TraceId, WaitingEnd,
};

use super::keys::carried_key;

/// A part of a batch, sorted by table. A trace is named by its index in `traces`.
#[derive(Default)]
pub(super) struct BatchPart<'a> {
    pub(super) traces: Vec<TraceChange<'a>>,
    indexes: HashMap<TraceId, usize>,
    /// The trace of the latest signal: often the next signal's too.
    last: Option<(TraceId, usize)>,
    /// Complete spans.
    pub(super) finished: Vec<(usize, &'a Span)>,
    /// Incomplete spans, each in its latest version.
    pub(super) open: Vec<(usize, &'a Span)>,
    open_indexes: HashMap<SpanKey, usize>,
    /// Ends whose start the assembler does not know.
    pub(super) waiting: Vec<&'a WaitingEnd>,
    /// Logs, each with its index among the logs and points of the part, and its trace.
    pub(super) logs: Vec<(i64, Option<usize>, &'a LogRecord)>,
    /// Metric points, each with its index among the logs and points of the part, and its trace.
    pub(super) points: Vec<(i64, Option<usize>, &'a MetricPoint)>,
}

/// What a part of a batch adds to a trace.
pub(super) struct TraceChange<'a> {
    pub(super) id: TraceId,
    pub(super) start: Option<i64>,
    pub(super) end: Option<i64>,
    pub(super) expires: i64,
    pub(super) arrived: i64,
    /// The earliest span without a parent.
    pub(super) root: Option<Root<'a>>,
    /// True if a later signal of the part replaced an earlier one of the same span. Start, end and root must then be
    /// found again from all spans.
    pub(super) recompute: bool,
}

/// A span that may be the root of a trace.
#[derive(Clone, Copy)]
pub(super) struct Root<'a> {
    pub(super) start: i64,
    pub(super) span_id: u64,
    pub(super) service: &'a Option<Arc<str>>,
}

impl<'a> BatchPart<'a> {
    /// Splits a batch into parts, to be stored one after the other: nearly always one. A part stores incomplete spans
    /// before ends that wait, and each span once. A signal for which this is the wrong order begins another part.
    pub(super) fn split(batch: &Batch<'a>) -> Vec<Self> {
        let mut parts = vec![Self::default()];
        for signal in batch.iter() {
            if parts.last().is_some_and(|part| part.must_end_before(signal)) {
                parts.push(Self::default());
            }
            if let Some(part) = parts.last_mut() {
                part.add(signal);
            }
        }
        for part in &mut parts {
            part.open.retain(|(trace, _)| *trace != REPLACED);
        }
        parts
    }

    /// Returns true if the signal must be stored after all of this part.
    fn must_end_before(&self, signal: &Signal) -> bool {
        let (Signal::SpanStarted(span) | Signal::SpanEnded(span)) = signal else { return false };
        let ends_span = |end: &&WaitingEnd| end.key == span.key() || end.key == carried_key(span);
        let is_incomplete = span.state != SpanState::Ended;
        (is_incomplete && self.open_indexes.contains_key(&span.key())) || self.waiting.iter().any(ends_span)
    }

    fn add(&mut self, signal: &'a Signal) {
        match signal {
            Signal::SpanEnded(span) if span.state == SpanState::Ended => {
                let trace = self.add_span(span);
                self.remove_open(trace, span);
                self.finished.push((trace, span));
            }
            Signal::SpanStarted(span) | Signal::SpanEnded(span) => self.put_open(span),
            Signal::EndWaiting(end) => self.waiting.push(end),
            Signal::Log(log) => {
                let trace = log.context.trace_id().map(|id| self.trace(id, log.arrived, log.expires()));
                self.logs.push((self.next_event(), trace, log));
            }
            Signal::Metric(point) => {
                let trace = point.context.trace_id().map(|id| self.trace(id, point.arrived, point.expires()));
                self.points.push((self.next_event(), trace, point));
            }
            // A kind of signal of a later version: this sink does not subscribe to it.
            _ => {}
        }
    }

    /// Returns the number of logs and points.
    pub(super) fn events(&self) -> usize {
        self.logs.len() + self.points.len()
    }

    /// Returns the service names of all signals of the part.
    pub(super) fn service_names(&self) -> impl Iterator<Item = &Arc<str>> {
        let spans = self.finished.iter().chain(&self.open).map(|(_, span)| &span.service_name);
        let logs = self.logs.iter().map(|(_, _, log)| &log.service_name);
        let points = self.points.iter().map(|(_, _, point)| &point.service_name);
        spans.chain(logs).chain(points).flatten()
    }

    fn next_event(&self) -> i64 {
        i64::try_from(self.events()).unwrap_or(i64::MAX)
    }

    /// Returns the index of a trace to which something belongs that expires at `expires`.
    fn trace(&mut self, id: TraceId, arrived: Timestamp, expires: Timestamp) -> usize {
        let (arrived, expires) = (arrived.as_nanos(), expires.as_nanos());
        let index = match self.last {
            Some((last, index)) if last == id => index,
            Some(_) | None => *self.indexes.entry(id).or_insert(self.traces.len()),
        };
        self.last = Some((id, index));
        match self.traces.get_mut(index) {
            Some(trace) => {
                trace.expires = trace.expires.max(expires);
                trace.arrived = trace.arrived.min(arrived);
            }
            None => self.traces.push(TraceChange {
                id,
                start: None,
                end: None,
                expires,
                arrived,
                root: None,
                recompute: false,
            }),
        }
        index
    }

    fn add_span(&mut self, span: &'a Span) -> usize {
        let index = self.trace(span.trace_id, span.arrived, span.expires());
        let trace = &mut self.traces[index];
        let start = span.start_time.as_nanos();
        trace.start = Some(trace.start.map_or(start, |earliest| earliest.min(start)));
        trace.end = trace.end.max(span.end_time.map(Timestamp::as_nanos));
        if span.parent_span_id.is_none() {
            let root = Root { start, span_id: span.span_id.as_u64(), service: &span.service_name };
            let is_earlier = |other: Root<'_>| (root.start, root.span_id) < (other.start, other.span_id);
            if trace.root.is_none_or(is_earlier) {
                trace.root = Some(root);
            }
        }
        index
    }

    fn put_open(&mut self, span: &'a Span) {
        let trace = self.add_span(span);
        self.remove_open(trace, span);
        self.open_indexes.insert(span.key(), self.open.len());
        self.open.push((trace, span));
    }

    /// Removes an earlier signal of this part that is about the same span.
    fn remove_open(&mut self, trace: usize, span: &Span) {
        if self.open_indexes.is_empty() {
            return;
        }
        if let Some(index) = self.open_indexes.remove(&span.key()) {
            let earlier = self.open[index].1;
            self.open[index].0 = REPLACED;
            self.traces[trace].recompute |= changes_trace(earlier, span);
        }
    }
}

/// Stands for the trace of an incomplete span that a later signal of the same part replaces.
const REPLACED: usize = usize::MAX;

/// Returns true if two versions of a span differ in what the row of their trace depends on.
pub(super) fn changes_trace(earlier: &Span, later: &Span) -> bool {
    (earlier.start_time, earlier.parent_span_id) != (later.start_time, later.parent_span_id)
        || earlier.service_name != later.service_name
}
