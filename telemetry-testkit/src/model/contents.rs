//! What is stored, and what a signal changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use telemetry_core::{
    LogBody, LogRecord, MetricPoint, Signal, Span, SpanEvent, SpanKey, SpanKind, SpanState, StreamMark,
    Timestamp, TraceId, WaitingEnd,
};

/// Everything stored.
#[derive(Debug, Default)]
pub(super) struct Contents {
    spans: BTreeMap<SpanKey, Span>,
    /// Ends whose start is not known.
    waiting: BTreeMap<SpanKey, WaitingEnd>,
    /// Logs and points, in order of arrival.
    events: Vec<SpanEvent>,
    /// When each trace is gone: the latest time of anything that belongs to it.
    expires: BTreeMap<TraceId, Timestamp>,
}

impl Contents {
    pub(super) fn add(&mut self, signal: &Signal) {
        match signal {
            Signal::SpanStarted(span) | Signal::SpanEnded(span) => self.add_span(span),
            Signal::EndWaiting(end) => self.add_end(end),
            Signal::Log(log) => {
                self.prolong(log.context.trace_id(), log.arrived, log.expires());
                self.events.push(SpanEvent::Log(Arc::clone(log)));
            }
            Signal::Metric(point) => {
                self.prolong(point.context.trace_id(), point.arrived, point.expires());
                self.events.push(SpanEvent::Metric(Arc::clone(point)));
            }
            // A kind of signal of a later version.
            _ => {}
        }
    }

    /// A start, an end with all that is known, or the end alone of a span that is given up.
    fn add_span(&mut self, news: &Span) {
        let key = news.key();
        self.prolong(Some(key.trace_id), news.arrived, news.expires());
        let stored = self.spans.get(&key);
        // A finished span is never overwritten.
        if stored.is_some_and(|stored| stored.state == SpanState::Ended) {
            // It came by OTLP again, its events before it: they were stored with the first.
            self.events.retain(|event| !is_repeated(event, &news.events));
            return;
        }
        let span = match (stored, news.state) {
            (Some(stored), SpanState::Open | SpanState::Unfinished) => {
                match (lacks_start(stored), lacks_start(news)) {
                    (true, false) => joined(news, stored),
                    (false, true) => joined(stored, news),
                    (true, true) | (false, false) => news.clone(),
                }
            }
            (Some(_), SpanState::Ended) | (None, _) => news.clone(),
        };
        let waiting = self.take_waiting(&span);
        let span = match waiting {
            Some(end) if span.state != SpanState::Ended && !lacks_start(&span) => joined(&span, &alone(&end)),
            Some(_) | None => span,
        };
        self.spans.insert(key, span);
    }

    /// Joins an end with the start it belongs to, or keeps it.
    fn add_end(&mut self, end: &WaitingEnd) {
        let started = self.spans.values().find(|span| is_end_of(end.key, span)).cloned();
        match started {
            Some(span) if span.state == SpanState::Ended || lacks_start(&span) => {}
            Some(span) => {
                self.prolong(
                    Some(span.trace_id),
                    end.arrived,
                    end.arrived.saturating_add(end.ttl.as_duration()),
                );
                self.spans.insert(span.key(), joined(&span, &alone(end)));
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

    /// A trace lives as long as the longest-lived of what belongs to it; one that had expired before
    /// is another trace.
    fn prolong(&mut self, trace: Option<TraceId>, arrived: Timestamp, expires: Timestamp) {
        let Some(trace) = trace else { return };
        if self.expires.get(&trace).is_some_and(|gone| *gone <= arrived) {
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

    pub(super) fn ended_span(&self, key: SpanKey) -> Option<&Span> {
        self.spans.get(&key).filter(|span| span.state == SpanState::Ended)
    }

    /// The spans that have not expired at `now`, by trace.
    pub(super) fn traces(&self, now: Timestamp) -> BTreeMap<TraceId, Vec<Span>> {
        let mut traces: BTreeMap<TraceId, Vec<Span>> = BTreeMap::new();
        for (key, span) in &self.spans {
            if self.lives(key.trace_id, now) {
                // Logs and points are signals of their own; a span's list only repeats them.
                let span = Span { events: Vec::new(), ..span.clone() };
                traces.entry(key.trace_id).or_default().push(span);
            }
        }
        traces
    }

    /// The logs and points that have not expired at `now`, in order of arrival.
    pub(super) fn events(&self, now: Timestamp) -> impl DoubleEndedIterator<Item = &SpanEvent> {
        self.events.iter().filter(move |event| match trace_of(event) {
            Some(trace) => self.lives(trace, now),
            None => expires(event) > now,
        })
    }

    /// The logs that have not expired, in order of arrival.
    pub(super) fn logs(&self, now: Timestamp) -> impl DoubleEndedIterator<Item = &LogRecord> {
        self.events(now).filter_map(|event| match event {
            SpanEvent::Log(log) => Some(&**log),
            SpanEvent::Metric(_) => None,
        })
    }

    /// The measurements that have not expired, in order of arrival.
    pub(super) fn points(&self, now: Timestamp) -> impl DoubleEndedIterator<Item = &MetricPoint> {
        self.events(now).filter_map(|event| match event {
            SpanEvent::Metric(point) => Some(&**point),
            SpanEvent::Log(_) => None,
        })
    }

    /// The mark of the stream's latest point, unless that has expired.
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

/// Whether this is one of the span events, the very same.
fn is_repeated(event: &SpanEvent, of_span: &[SpanEvent]) -> bool {
    let SpanEvent::Log(log) = event else { return false };
    matches!(log.body, LogBody::SpanEvent { .. })
        && of_span.iter().any(|again| matches!(again, SpanEvent::Log(again) if Arc::ptr_eq(again, log)))
}

/// Whether only the end of the span is known.
fn lacks_start(span: &Span) -> bool {
    span.state == SpanState::Unfinished && span.end_time.is_some()
}

/// Whether an end under this key ends the span: under its own key, or under the one its events carried
/// before a `traceparent` moved it to another trace.
fn is_end_of(end: SpanKey, span: &Span) -> bool {
    end.span_id == span.span_id
        && (end.trace_id == span.trace_id || Some(end.trace_id) == span.submitted_trace_id)
}

/// An end as a span of which nothing else is known.
fn alone(end: &WaitingEnd) -> Span {
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

/// The whole of a span from its halves: the end's attributes win, and the longer-lived half decides
/// how long it lives.
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
