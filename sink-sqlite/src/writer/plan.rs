//! What a batch asks of the tables, found without touching them.

use std::collections::HashMap;
use std::sync::Arc;

use telemetry_core::{
    Batch, LogRecord, MetricPoint, Signal, Span, SpanKey, SpanState, Timestamp, TraceId, WaitingEnd,
};

use super::state::carried_key;
use crate::rows::span_id_bits;

/// A batch, sorted by table. Traces are named by their place in `traces`.
#[derive(Default)]
pub(super) struct Plan<'a> {
    pub(super) traces: Vec<TraceChange<'a>>,
    places: HashMap<TraceId, usize>,
    last: Option<(TraceId, usize)>,
    /// Spans that are whole.
    pub(super) finished: Vec<(usize, &'a Span)>,
    /// Spans of which one half is known, the latest word on each.
    pub(super) open: Vec<(usize, &'a Span)>,
    open_places: HashMap<SpanKey, usize>,
    /// Ends whose start the assembler does not know.
    pub(super) waiting: Vec<&'a WaitingEnd>,
    /// Logs with their place among the batch's events.
    pub(super) logs: Vec<(i64, Option<usize>, &'a LogRecord)>,
    /// Points with their place among the batch's events.
    pub(super) points: Vec<(i64, Option<usize>, &'a MetricPoint)>,
}

/// What a batch adds to a trace.
pub(super) struct TraceChange<'a> {
    pub(super) id: TraceId,
    pub(super) start: Option<i64>,
    pub(super) end: Option<i64>,
    pub(super) expires: i64,
    pub(super) arrived: i64,
    /// The earliest span without a parent.
    pub(super) root: Option<Root<'a>>,
    /// Something that was known before is no longer so: look at all spans again.
    pub(super) recompute: bool,
}

/// A span that may be a trace's root.
#[derive(Clone, Copy)]
pub(super) struct Root<'a> {
    pub(super) start: i64,
    pub(super) span_id: u64,
    pub(super) service: &'a Option<Arc<str>>,
}

impl<'a> Plan<'a> {
    /// The plans of a batch, to be carried out one after the other: nearly always one. Within a plan
    /// halves come before ends that wait, and each span has one half: what comes later is another plan.
    pub(super) fn of(batch: &Batch<'a>) -> Vec<Self> {
        let mut plans = vec![Self::default()];
        for signal in batch.iter() {
            if plans.last().is_some_and(|plan| plan.must_come_before(signal)) {
                plans.push(Self::default());
            }
            if let Some(plan) = plans.last_mut() {
                plan.add(signal);
            }
        }
        for plan in &mut plans {
            plan.open.retain(|(trace, _)| *trace != GONE);
        }
        plans
    }

    fn must_come_before(&self, signal: &Signal) -> bool {
        let (Signal::SpanStarted(span) | Signal::SpanEnded(span)) = signal else { return false };
        let ends_span = |end: &&WaitingEnd| end.key == span.key() || end.key == carried_key(span);
        let is_half = span.state != SpanState::Ended;
        (is_half && self.open_places.contains_key(&span.key())) || self.waiting.iter().any(ends_span)
    }

    fn add(&mut self, signal: &'a Signal) {
        match signal {
            Signal::SpanEnded(span) if span.state == SpanState::Ended => {
                let trace = self.add_span(span);
                self.forget_open(trace, span);
                self.finished.push((trace, span));
            }
            Signal::SpanStarted(span) | Signal::SpanEnded(span) => self.put_open(span),
            Signal::EndWaiting(end) => self.waiting.push(end),
            Signal::Log(log) => {
                let trace = log.context.trace_id().map(|id| self.trace(id, log.arrived, log.expires()));
                let place = self.next_event();
                self.logs.push((place, trace, log));
            }
            Signal::Metric(point) => {
                let trace = point.context.trace_id().map(|id| self.trace(id, point.arrived, point.expires()));
                let place = self.next_event();
                self.points.push((place, trace, point));
            }
            // A kind of signal of a later version; not in the interest of this sink.
            _ => {}
        }
    }

    /// The number of logs and points.
    pub(super) fn events(&self) -> usize {
        self.logs.len() + self.points.len()
    }

    fn next_event(&self) -> i64 {
        i64::try_from(self.events()).unwrap_or(i64::MAX)
    }

    /// The place of a trace that something which lives until `expires` belongs to.
    fn trace(&mut self, id: TraceId, arrived: Timestamp, expires: Timestamp) -> usize {
        let (arrived, expires) = (arrived.as_nanos(), expires.as_nanos());
        let place = match self.last {
            Some((last, place)) if last == id => place,
            Some(_) | None => *self.places.entry(id).or_insert(self.traces.len()),
        };
        self.last = Some((id, place));
        match self.traces.get_mut(place) {
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
        place
    }

    fn add_span(&mut self, span: &'a Span) -> usize {
        let place = self.trace(span.trace_id, span.arrived, span.expires());
        let trace = &mut self.traces[place];
        let start = span.start_time.as_nanos();
        trace.start = Some(trace.start.map_or(start, |earliest| earliest.min(start)));
        trace.end = trace.end.max(span.end_time.map(Timestamp::as_nanos));
        if span.parent_span_id.is_none() {
            let root = Root { start, span_id: span.span_id.as_u64(), service: &span.service_name };
            let earlier = |known: Root<'_>| (root.start, root.span_id) < (known.start, known.span_id);
            if trace.root.is_none_or(earlier) {
                trace.root = Some(root);
            }
        }
        place
    }

    fn put_open(&mut self, span: &'a Span) {
        let trace = self.add_span(span);
        self.forget_open(trace, span);
        self.open_places.insert(span.key(), self.open.len());
        self.open.push((trace, span));
    }

    /// Takes back what an earlier signal of the batch said of the span.
    fn forget_open(&mut self, trace: usize, span: &Span) {
        if self.open_places.is_empty() {
            return;
        }
        if let Some(place) = self.open_places.remove(&span.key()) {
            let earlier = self.open[place].1;
            self.open[place].0 = GONE;
            let tells = |span: &Span| (span.start_time, span.parent_span_id, span.service_name.clone());
            let same = tells(earlier) == tells(span);
            self.traces[trace].recompute |= !same;
        }
    }
}

/// The trace of an open span that the batch itself has replaced.
const GONE: usize = usize::MAX;

impl Root<'_> {
    pub(super) const fn bits(&self) -> i64 {
        self.span_id.cast_signed()
    }
}

/// The key of a span among those that are open: its trace's number and its own bits.
pub(super) fn open_key(trace: i64, span: &Span) -> (i64, i64) {
    (trace, span_id_bits(span.span_id))
}
