//! The contents of the model, and how each signal changes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use telemetry_core::{
    LogBody, LogRecord, MetricPoint, Signal, Span, SpanEvent, SpanKey, SpanKind, SpanState, StreamMark,
    Timestamp, TraceId, WaitingEnd,
};

/// Everything that is stored.
#[derive(Debug, Default)]
pub(super) struct Contents {
    spans: BTreeMap<SpanKey, Span>,
    /// Ends whose start is unknown.
    waiting: BTreeMap<SpanKey, WaitingEnd>,
    /// Logs and metric points, in order of arrival.
    events: Vec<SpanEvent>,
    /// When each trace expires: the latest time at which anything of it expires.
    expires: BTreeMap<TraceId, Timestamp>,
}

impl Contents {
    pub(super) fn add(&mut self, signal: &Signal) {
        match signal {
            Signal::SpanStarted(span) | Signal::SpanEnded(span) => self.add_span(span),
            Signal::EndWaiting(end) => self.add_end(end),
            Signal::Log(log) => {
                self.extend_life(log.context.trace_id(), log.arrived, log.expires());
                self.events.push(SpanEvent::Log(Arc::clone(log)));
            }
            Signal::Metric(point) => {
                self.extend_life(point.context.trace_id(), point.arrived, point.expires());
                self.events.push(SpanEvent::Metric(Arc::clone(point)));
            }
            // A kind of signal that a later version adds.
            _ => {}
        }
    }

    /// Adds a started span, an ended span, or an end whose start never came.
    fn add_span(&mut self, new: &Span) {
        let key = new.key();
        self.extend_life(Some(key.trace_id), new.arrived, new.expires());
        let stored = self.spans.get(&key);
        // An ended span is never overwritten.
        if stored.is_some_and(|stored| stored.state == SpanState::Ended) {
            // The span came by OTLP a second time. Its events came before it: remove the copies.
            self.events.retain(|event| !is_repeated(event, &new.events));
            return;
        }
        let span = match (stored, new.state) {
            (Some(stored), SpanState::Open | SpanState::Unfinished) => {
                match (lacks_start(stored), lacks_start(new)) {
                    (true, false) => joined(new, stored),
                    (false, true) => joined(stored, new),
                    (true, true) | (false, false) => new.clone(),
                }
            }
            (Some(_), SpanState::Ended) | (None, _) => new.clone(),
        };
        let waiting = self.take_waiting(&span);
        let span = match waiting {
            Some(end) if span.state != SpanState::Ended && !lacks_start(&span) => {
                joined(&span, &without_start(&end))
            }
            Some(_) | None => span,
        };
        self.spans.insert(key, span);
    }

    /// Joins an end with its start, or keeps it until the start comes.
    fn add_end(&mut self, end: &WaitingEnd) {
        let started = self.spans.values().find(|span| is_end_of(end.key, span)).cloned();
        match started {
            Some(span) if span.state == SpanState::Ended || lacks_start(&span) => {}
            Some(span) => {
                self.extend_life(
                    Some(span.trace_id),
                    end.arrived,
                    end.arrived.saturating_add(end.ttl.as_duration()),
                );
                self.spans.insert(span.key(), joined(&span, &without_start(end)));
            }
            None => {
                self.waiting.entry(end.key).or_insert_with(|| end.clone());
            }
        }
    }

    fn take_waiting(&mut self, span: &Span) -> Option<WaitingEnd> {
        let key = self.waiting.keys().copied().find(|key| is_end_of(*key, span))?;
        self.waiting.remove(&key)
    }

    /// Extends the life of a trace: it lives as long as anything that belongs to it. If the trace has expired already,
    /// its old contents are removed first.
    fn extend_life(&mut self, trace: Option<TraceId>, arrived: Timestamp, expires: Timestamp) {
        let Some(trace) = trace else { return };
        if self.expires.get(&trace).is_some_and(|expired| *expired <= arrived) {
            self.spans.retain(|key, _| key.trace_id != trace);
            self.events.retain(|event| trace_of(event) != Some(trace));
            self.expires.remove(&trace);
        }
        let until = self.expires.entry(trace).or_insert(expires);
        *until = expires.max(*until);
    }

    pub(super) fn mark_unfinished(&mut self) {
        for span in self.spans.values_mut() {
            if span.state == SpanState::Open {
                span.state = SpanState::Unfinished;
            }
        }
    }

    /// Returns the spans that have not expired at `now`, by trace.
    pub(super) fn traces(&self, now: Timestamp) -> BTreeMap<TraceId, Vec<Span>> {
        let mut traces: BTreeMap<TraceId, Vec<Span>> = BTreeMap::new();
        for (key, span) in &self.spans {
            if self.lives(key.trace_id, now) {
                // The events are stored as signals of their own.
                let span = Span { events: Vec::new(), ..span.clone() };
                traces.entry(key.trace_id).or_default().push(span);
            }
        }
        traces
    }

    /// Returns the logs and metric points that have not expired at `now`, in order of arrival.
    pub(super) fn events(&self, now: Timestamp) -> impl DoubleEndedIterator<Item = &SpanEvent> {
        self.events.iter().filter(move |event| match trace_of(event) {
            Some(trace) => self.lives(trace, now),
            None => expires(event) > now,
        })
    }

    /// Returns the logs that have not expired at `now`, in order of arrival.
    pub(super) fn logs(&self, now: Timestamp) -> impl DoubleEndedIterator<Item = &LogRecord> {
        self.events(now).filter_map(|event| match event {
            SpanEvent::Log(log) => Some(&**log),
            SpanEvent::Metric(_) => None,
        })
    }

    /// Returns the metric points that have not expired at `now`, in order of arrival.
    pub(super) fn points(&self, now: Timestamp) -> impl DoubleEndedIterator<Item = &MetricPoint> {
        self.events(now).filter_map(|event| match event {
            SpanEvent::Metric(point) => Some(&**point),
            SpanEvent::Log(_) => None,
        })
    }

    /// Returns the mark of the stream's latest metric point, unless that point has expired.
    pub(super) fn mark(&self, stream: u128, now: Timestamp) -> Option<&StreamMark> {
        let mut latest = self.events.iter().rev().filter_map(|event| match event {
            SpanEvent::Metric(point) => Some((point, point.stream.as_deref()?)),
            SpanEvent::Log(_) => None,
        });
        let (point, mark) = latest.find(|(_, mark)| mark.stream == stream)?;
        (point.expires() > now).then_some(mark)
    }

    fn lives(&self, trace: TraceId, now: Timestamp) -> bool {
        self.expires.get(&trace).is_some_and(|expires| *expires > now)
    }
}

/// Returns true if this is one of the events in the list: the same allocation, not an equal one.
fn is_repeated(event: &SpanEvent, of_span: &[SpanEvent]) -> bool {
    let SpanEvent::Log(log) = event else { return false };
    matches!(log.body, LogBody::SpanEvent { .. })
        && of_span.iter().any(|again| matches!(again, SpanEvent::Log(again) if Arc::ptr_eq(again, log)))
}

/// Returns true if only the end of the span is known.
fn lacks_start(span: &Span) -> bool {
    span.state == SpanState::Unfinished && span.end_time.is_some()
}

/// Returns true if an end with this key belongs to the span. The key is the span's own, or the one under which its
/// events were submitted before a `traceparent` moved the span to another trace.
fn is_end_of(end: SpanKey, span: &Span) -> bool {
    end.span_id == span.span_id
        && (end.trace_id == span.trace_id || Some(end.trace_id) == span.submitted_trace_id)
}

/// Converts an end to a span whose start is unknown.
fn without_start(end: &WaitingEnd) -> Span {
    Span {
        end_time: Some(end.end_time),
        status: Some(end.status),
        attributes: end.attributes.clone(),
        state: SpanState::Unfinished,
        arrived: end.arrived,
        ttl: end.ttl,
        ..Span::open(end.key, "", end.end_time)
    }
}

/// Joins the start and the end of a span. The end's attributes win. The half that expires later decides when the span
/// expires.
fn joined(start: &Span, end: &Span) -> Span {
    let mut whole = start.clone();
    whole.end_time = end.end_time;
    whole.status = end.status;
    whole.attributes.merge(end.attributes.clone());
    whole.state = SpanState::Ended;
    if start.kind == SpanKind::Internal {
        whole.kind = end.kind;
    }
    if end.expires() >= start.expires() {
        (whole.arrived, whole.ttl) = (end.arrived, end.ttl);
    }
    whole
}

fn trace_of(event: &SpanEvent) -> Option<TraceId> {
    match event {
        SpanEvent::Log(log) => log.context.trace_id(),
        SpanEvent::Metric(point) => point.context.trace_id(),
    }
}

fn expires(event: &SpanEvent) -> Timestamp {
    match event {
        SpanEvent::Log(log) => log.expires(),
        SpanEvent::Metric(point) => point.expires(),
    }
}
