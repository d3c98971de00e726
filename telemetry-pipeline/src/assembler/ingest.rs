//! The rules by which submissions become signals.

use std::sync::Arc;

use telemetry_core::{
    Attributes, Event, EventContext, LogBody, LogRecord, Metric, MetricPoint, Payload, Signal, SignalSet,
    Span, SpanEvent, SpanKey, SpanState, SpanStatus, StructuredLog, Submission, Text, Timestamp, Ttl,
    UnstructuredLog, WaitingEnd,
};

use super::alias::continue_remote_trace;
use super::limits;
use super::state::{Assembler, add_dropped, cut_attributes, prolong};

/// What happens to a log, as far as its span decides.
enum Listing {
    /// Its span is not open.
    UnknownSpan,
    /// It is delivered now.
    Deliver,
    /// It waits for its span's end, because its trace is not sampled.
    Wait,
    /// Its trace is not sampled, and its span lists no further events.
    Refuse,
}

impl Assembler {
    /// Takes one submission that arrived at `now`, and appends its signals to `out`.
    pub fn ingest(&mut self, submission: Submission, now: Timestamp, out: &mut Vec<Signal>) {
        self.counts.submissions += 1;
        let refused = self.counts.refused;
        let waiting = self.counts.waiting;
        match submission {
            Submission::Event { event: Event::UnstructuredLog(log), ttl } => self.log(log, ttl, now, out),
            Submission::Event { event: Event::Metric(metric), ttl } => self.metric(metric, ttl, now, out),
            Submission::Event { event: Event::StructuredLog(log), ttl } => {
                self.structured(log, ttl, now, out);
            }
            Submission::Span(span) => self.otlp_span(*span, out),
            Submission::Log(log) => self.otlp_log(*log, out),
            Submission::Metric(point) => self.otlp_metric(*point, out),
        }
        if refused == self.counts.refused && waiting == self.counts.waiting {
            self.counts.signalled += 1;
        }
    }

    fn log(&mut self, log: UnstructuredLog, ttl: Ttl, now: Timestamp, out: &mut Vec<Signal>) {
        let UnstructuredLog { context, timestamp, mut message, severity, mut attributes } = log;
        self.cut_event(&mut attributes);
        self.counts.truncated_values += limits::truncate(&mut message, self.config.max_value_bytes);
        let context = self.aliases.resolve(context);
        let body = LogBody::Message { severity, message };
        let record =
            LogRecord { context, timestamp, body, attributes, service_name: None, arrived: now, ttl };
        let record = Arc::new(record);
        let listing =
            context.span_key().map(|key| self.list(key, now, ttl, || SpanEvent::Log(Arc::clone(&record))));
        match listing {
            None | Some(Listing::Deliver) => {}
            Some(Listing::UnknownSpan) => self.counts.late += 1,
            Some(Listing::Wait) => return self.counts.waiting += 1,
            Some(Listing::Refuse) => {
                self.counts.sampled_out_logs += 1;
                self.counts.sampled_out += 1;
                self.counts.refused += 1;
                return;
            }
        }
        self.emit(Signal::Log(record), out);
        self.evict_beyond_limits(out);
    }

    fn metric(&mut self, metric: Metric, ttl: Ttl, now: Timestamp, out: &mut Vec<Signal>) {
        let Metric { context, timestamp, metric, value, unit, kind, mut attributes } = metric;
        self.cut_event(&mut attributes);
        let context = self.aliases.resolve(context);
        let point = MetricPoint {
            context,
            timestamp,
            name: metric,
            value,
            unit,
            kind,
            attributes,
            service_name: None,
            arrived: now,
            ttl,
            stream: None,
        };
        let point = Arc::new(point);
        if let Some(key) = context.span_key() {
            self.list(key, now, ttl, || SpanEvent::Metric(Arc::clone(&point)));
        }
        self.emit(Signal::Metric(point), out);
        self.evict_beyond_limits(out);
    }

    /// Lists an event on its span, if that is open.
    fn list(&mut self, key: SpanKey, now: Timestamp, ttl: Ttl, event: impl FnOnce() -> SpanEvent) -> Listing {
        let Some(open) = self.open.get_mut(key) else { return Listing::UnknownSpan };
        prolong(&mut open.span, now, ttl);
        if open.sampled && !self.lists_events {
            return Listing::Deliver;
        }
        if open.span.events.len() < self.config.max_events_per_span {
            open.list(event(), &mut self.open_bytes);
            if open.sampled { Listing::Deliver } else { Listing::Wait }
        } else {
            open.span.dropped_events_count += 1;
            self.counts.dropped_events += 1;
            if open.sampled { Listing::Deliver } else { Listing::Refuse }
        }
    }

    fn structured(&mut self, log: StructuredLog, ttl: Ttl, now: Timestamp, out: &mut Vec<Signal>) {
        let StructuredLog { trace_id, span_id, timestamp, payload, mut attributes } = log;
        self.cut_values(&mut attributes);
        let submitted = SpanKey::new(trace_id, span_id);
        let key = self.aliases.resolve_key(submitted);
        match payload {
            Payload::SpanStart { name, parent_span_id, kind } => {
                let cut = self.cut_event(&mut attributes);
                let moved = (key != submitted).then_some(trace_id);
                let mut span = Span {
                    parent_span_id,
                    kind,
                    attributes,
                    submitted_trace_id: moved,
                    arrived: now,
                    ttl,
                    ..Span::open(key, name, timestamp)
                };
                if continue_remote_trace(&mut span, trace_id).is_err() {
                    self.counts.invalid_traceparent += 1;
                }
                add_dropped(&mut span.dropped_attributes_count, cut);
                self.start(span, submitted, out);
            }
            Payload::SpanUpdate { failed } => self.update(key, failed, attributes, out),
            Payload::SpanEnd { status } => {
                let end = WaitingEnd { key, end_time: timestamp, status, attributes, arrived: now, ttl };
                self.end(end, out);
            }
            // A payload of a later version becomes a log, so that it is not lost.
            other => {
                let message = Text::Owned(format!("{other:?}"));
                let log = UnstructuredLog {
                    context: EventContext::Span(submitted),
                    timestamp,
                    message,
                    severity: telemetry_core::Severity::Info,
                    attributes,
                };
                self.log(log, ttl, now, out);
            }
        }
    }

    fn start(&mut self, span: Span, submitted: SpanKey, out: &mut Vec<Signal>) {
        let key = span.key();
        if self.open.contains(key) {
            return self.start_again(span, out);
        }
        if self.finished.contains(key) {
            self.counts.start_after_end += 1;
            self.counts.refused += 1;
            return;
        }
        let waiting = self.remove_waiting(key).or_else(|| self.remove_waiting(submitted));
        let sampled = self.config.sampling.keeps(key.trace_id);
        if sampled && self.interest.contains(SignalSet::SPAN_STARTED) {
            out.push(Signal::SpanStarted(Arc::new(span.clone())));
        } else if !sampled && waiting.is_none() {
            self.counts.waiting += 1;
        }
        self.insert_open(span, sampled);
        if let Some(end) = waiting {
            self.finish(key, end, out);
        }
        self.evict_beyond_limits(out);
    }

    /// Merges a second start into the first. Attributes of the first win.
    fn start_again(&mut self, span: Span, out: &mut Vec<Signal>) {
        let Some(open) = self.open.get_mut(span.key()) else { return };
        self.counts.duplicate_start += 1;
        open.starts += 1;
        if open.starts > self.config.max_starts_per_span {
            self.counts.excess_start += 1;
            self.counts.refused += 1;
            return;
        }
        let mut attributes = span.attributes;
        open.change_attributes(&mut self.open_bytes, |first| {
            attributes.merge(std::mem::take(&mut first.attributes));
            first.attributes = attributes;
        });
        prolong(&mut open.span, span.arrived, span.ttl);
        if open.sampled {
            let started = Span { events: Vec::new(), ..open.span.clone() };
            self.emit(Signal::SpanStarted(Arc::new(started)), out);
        } else {
            self.counts.waiting += 1;
        }
        self.evict_beyond_limits(out);
    }

    /// Adds attributes and a failure to an open span. Its end delivers them.
    fn update(&mut self, key: SpanKey, failed: bool, attributes: Attributes, out: &mut Vec<Signal>) {
        let Some(open) = self.open.get_mut(key) else {
            self.counts.late_update += 1;
            self.counts.refused += 1;
            return;
        };
        open.failed |= failed;
        open.change_attributes(&mut self.open_bytes, |span| {
            span.attributes.merge(attributes);
            self.counts.dropped_attributes += cut_attributes(span, self.config.max_attributes_per_span);
        });
        self.counts.waiting += 1;
        self.evict_beyond_limits(out);
    }

    fn end(&mut self, end: WaitingEnd, out: &mut Vec<Signal>) {
        let key = end.key;
        if self.open.contains(key) {
            self.finish(key, end, out);
        } else if self.finished.contains(key) || self.waits(key) {
            self.counts.duplicate_end += 1;
            self.counts.refused += 1;
        } else if self.is_sampled_out(&end) && !self.evicted.contains(key) {
            // Its start may name another trace, which is sampled.
            self.counts.waiting += 1;
            self.wait_for_start(end, out);
        } else if self.is_sampled_out(&end) {
            self.evicted.remove(key);
            self.counts.sampled_out += 1;
            self.counts.refused += 1;
        } else if self.evicted.remove(key).is_some() {
            self.counts.ended_after_eviction += 1;
            self.remember_finished(key, end.arrived);
            self.emit(Signal::EndWaiting(Arc::new(end)), out);
        } else {
            self.counts.waiting += 1;
            self.emit(Signal::EndWaiting(Arc::new(end.clone())), out);
            self.wait_for_start(end, out);
        }
    }

    /// Joins an open span with its end.
    fn finish(&mut self, key: SpanKey, end: WaitingEnd, out: &mut Vec<Signal>) {
        let Some(open) = self.remove_open(key) else { return };
        let mut span = open.span;
        let status = if open.failed { SpanStatus::Error } else { end.status };
        if !open.sampled {
            if status != SpanStatus::Error {
                self.remember_finished(key, end.arrived);
                self.refuse_sampled_out(&span);
                return;
            }
            // The span failed, so it is delivered after all, with the logs that waited.
            for event in &span.events {
                if let SpanEvent::Log(log) = event {
                    self.emit(Signal::Log(Arc::clone(log)), out);
                }
            }
        }
        span.attributes.merge(end.attributes);
        self.cut_attributes(&mut span);
        span.end_time = Some(end.end_time);
        span.status = Some(status);
        span.state = SpanState::Ended;
        prolong(&mut span, end.arrived, end.ttl);
        self.remember_finished(key, end.arrived);
        self.emit(Signal::SpanEnded(Arc::new(span)), out);
    }
}

/// Records received by OTLP. Spans arrive whole, and the order of records means nothing.
impl Assembler {
    /// Emits the events of a whole span, then the span.
    pub(super) fn otlp_span(&mut self, mut span: Span, out: &mut Vec<Signal>) {
        let key = span.key();
        if self.finished.contains(key) {
            self.counts.duplicate_span += 1;
            self.counts.refused += 1;
            return;
        }
        let is_whole = span.state == SpanState::Ended;
        if span.status != Some(SpanStatus::Error) && !self.config.sampling.keeps(key.trace_id) {
            if is_whole {
                self.remove_open(key);
                self.remember_finished(key, span.arrived);
            }
            self.refuse_sampled_out(&span);
            return;
        }
        self.cut_values(&mut span.attributes);
        self.cut_attributes(&mut span);
        for event in &span.events {
            match event {
                SpanEvent::Log(log) => self.emit(Signal::Log(Arc::clone(log)), out),
                SpanEvent::Metric(point) => self.emit(Signal::Metric(Arc::clone(point)), out),
            }
        }
        let unlisted = span.events.len().saturating_sub(self.config.max_events_per_span);
        span.events.truncate(self.config.max_events_per_span);
        add_dropped(&mut span.dropped_events_count, unlisted);
        self.counts.dropped_events += unlisted as u64;
        if is_whole {
            // An event may have started the same span here.
            self.remove_open(key);
            self.remove_waiting(key);
            self.remember_finished(key, span.arrived);
        }
        self.emit(Signal::SpanEnded(Arc::new(span)), out);
    }

    pub(super) fn otlp_log(&mut self, mut log: LogRecord, out: &mut Vec<Signal>) {
        self.cut_values(&mut log.attributes);
        self.emit(Signal::Log(Arc::new(log)), out);
    }

    pub(super) fn otlp_metric(&mut self, mut point: MetricPoint, out: &mut Vec<Signal>) {
        self.cut_values(&mut point.attributes);
        self.emit(Signal::Metric(Arc::new(point)), out);
    }
}
