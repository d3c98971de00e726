//! Pairs starts and ends, and emits signals, so that every sink agrees on what a span was.
//!
//! Pure and deterministic: no clock, no I/O, no threads; the time of arrival is a parameter. The
//! rules are the table of the specification, section "From events to signals", and are tested as one.

mod aged;
mod alias;
mod counts;
mod leaving;
pub(crate) mod limits;
mod received;
mod sampling;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use telemetry_core::{
    Attributes, Event, EventContext, LogBody, LogRecord, Metric, MetricPoint, Payload, Recovered, Signal,
    SignalSet, Span, SpanEvent, SpanKey, SpanState, SpanStatus, StructuredLog, Submission, Text, Timestamp,
    Ttl, UnstructuredLog, WaitingEnd,
};

use aged::Aged;
use alias::Aliases;
pub use counts::AssemblerCounts;
pub use limits::AssemblerConfig;
use sampling::Listed;
pub use sampling::{Sampling, SamplingError};

/// Turns events into signals.
///
/// ```
/// use telemetry_core::{Event, Recovered, Signal, SpanId, SpanStatus, Submission, Timestamp, TraceId, Ttl};
/// use telemetry_pipeline::assembler::{Assembler, AssemblerConfig};
///
/// let (trace, span) = (TraceId::from_u128(1).unwrap(), SpanId::from_u64(2).unwrap());
/// let mut assembler = Assembler::new(AssemblerConfig::default(), Recovered::default());
/// let (now, mut out) = (Timestamp::from_nanos(0), Vec::new());
/// for event in [Event::span_start(trace, span, "chat"), Event::span_end(trace, span, SpanStatus::Ok)] {
///     assembler.ingest(Submission::Event { event, ttl: Ttl::default() }, now, &mut out);
/// }
/// assert!(matches!(&out[..], [Signal::SpanStarted(_), Signal::SpanEnded(span)] if span.name == "chat"));
/// ```
#[derive(Debug)]
pub struct Assembler {
    config: AssemblerConfig,
    interest: SignalSet,
    open: Aged<Open>,
    open_bytes: usize,
    waiting: Aged<WaitingEnd>,
    /// Spans known to be finished, so that a second end is told from an early one.
    finished: Aged<()>,
    /// Spans delivered unfinished: an end that comes is the stores' to join.
    evicted: Aged<()>,
    aliases: Aliases,
    counts: AssemblerCounts,
}

/// A span that has started.
#[derive(Debug)]
struct Open {
    span: Span,
    bytes: usize,
    /// Whether an update said so.
    failed: bool,
    /// Whether its trace is sampled. If not, it is delivered only if it fails, and its logs wait with it.
    sampled: bool,
}

impl Assembler {
    /// An assembler that knows what an earlier run left open.
    pub fn new(config: AssemblerConfig, recovered: Recovered) -> Self {
        let mut assembler = Self {
            config,
            interest: SignalSet::ALL,
            open: Aged::default(),
            open_bytes: 0,
            waiting: Aged::default(),
            finished: Aged::default(),
            evicted: Aged::default(),
            aliases: Aliases::default(),
            counts: AssemblerCounts::default(),
        };
        for span in recovered.open_spans {
            // A store has it, so it was sampled.
            assembler.keep_open(span, true);
        }
        for end in recovered.waiting_ends {
            assembler.waiting.insert(end.key, end.clone(), end.arrived);
        }
        assembler
    }

    /// Makes only signals that some sink wants; pairing goes on for all.
    #[must_use]
    pub fn with_interest(mut self, interest: SignalSet) -> Self {
        self.interest = interest;
        self
    }

    /// The counters.
    pub const fn counts(&self) -> &AssemblerCounts {
        &self.counts
    }

    /// Counts what was taken out of an event before it came in.
    pub(crate) const fn count_redacted(&mut self, redacted: u64) {
        self.counts.redacted += redacted;
    }

    /// Spans that have started and not ended.
    pub fn open_spans(&self) -> usize {
        self.open.len()
    }

    /// Ends that wait for their start.
    pub fn waiting_ends(&self) -> usize {
        self.waiting.len()
    }

    /// Takes one submission that arrived at `now`.
    pub fn ingest(&mut self, submission: Submission, now: Timestamp, out: &mut Vec<Signal>) {
        self.counts.submissions += 1;
        let refused = self.counts.refused;
        let held = self.counts.held;
        match submission {
            Submission::Event { event: Event::UnstructuredLog(log), ttl } => self.log(log, ttl, now, out),
            Submission::Event { event: Event::Metric(metric), ttl } => self.metric(metric, ttl, now, out),
            Submission::Event { event: Event::StructuredLog(log), ttl } => {
                self.structured(log, ttl, now, out);
            }
            Submission::Span(span) => self.received_span(*span, out),
            Submission::Log(log) => self.received_log(*log, out),
            Submission::Metric(point) => self.received_point(*point, out),
        }
        if refused == self.counts.refused && held == self.counts.held {
            self.counts.signalled += 1;
        }
    }

    fn emit(&self, signal: Signal, out: &mut Vec<Signal>) {
        if self.interest.contains(signal.kind()) {
            out.push(signal);
        }
    }

    fn log(&mut self, log: UnstructuredLog, ttl: Ttl, now: Timestamp, out: &mut Vec<Signal>) {
        let UnstructuredLog { context, timestamp, mut message, severity, mut attributes } = log;
        self.cut(&mut attributes);
        self.counts.truncated_values += limits::truncate(&mut message, self.config.max_value_bytes);
        let context = self.aliases.follow(context);
        let body = LogBody::Message { severity, message };
        let record =
            LogRecord { context, timestamp, body, attributes, service_name: None, arrived: now, ttl };
        let record = Arc::new(record);
        let listed =
            context.span_key().map(|key| self.list(key, now, ttl, || SpanEvent::Log(Arc::clone(&record))));
        match listed {
            None | Some(Listed::Live) => {}
            Some(Listed::Unknown) => self.counts.late += 1,
            Some(Listed::Held) => return self.counts.held += 1,
            Some(Listed::Cut) => return self.refuse_log(),
        }
        self.emit(Signal::Log(record), out);
    }

    fn metric(&mut self, metric: Metric, ttl: Ttl, now: Timestamp, out: &mut Vec<Signal>) {
        let Metric { context, timestamp, metric, value, unit, kind, mut attributes } = metric;
        self.cut(&mut attributes);
        let context = self.aliases.follow(context);
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
    }

    /// Lists an event on its span, if that is open.
    fn list(&mut self, key: SpanKey, now: Timestamp, ttl: Ttl, event: impl FnOnce() -> SpanEvent) -> Listed {
        const EVENT_BYTES: usize = 256;
        let Some(open) = self.open.get_mut(key) else { return Listed::Unknown };
        prolong(&mut open.span, now, ttl);
        if open.span.events.len() < self.config.max_events_per_span {
            open.span.events.push(event());
            open.bytes += EVENT_BYTES;
            self.open_bytes += EVENT_BYTES;
            if open.sampled { Listed::Live } else { Listed::Held }
        } else {
            open.span.dropped_events_count += 1;
            self.counts.dropped_events += 1;
            if open.sampled { Listed::Live } else { Listed::Cut }
        }
    }

    fn structured(&mut self, log: StructuredLog, ttl: Ttl, now: Timestamp, out: &mut Vec<Signal>) {
        let StructuredLog { trace_id, span_id, timestamp, payload, mut attributes } = log;
        self.cut(&mut attributes);
        let submitted = SpanKey::new(trace_id, span_id);
        let key = self.aliases.follow_key(submitted);
        match payload {
            Payload::SpanStart { name, parent_span_id, kind } => {
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
                self.continue_remote_trace(&mut span, trace_id);
                self.start(span, submitted, out);
            }
            Payload::SpanUpdate { failed } => self.update(key, failed, attributes, out),
            Payload::SpanEnd { status } => {
                let end = WaitingEnd { key, end_time: timestamp, status, attributes, arrived: now, ttl };
                self.end(end, out);
            }
            // A type of a later version: kept as a log, so that nothing is lost.
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
        if let Some(open) = self.open.get_mut(key) {
            self.counts.duplicate_start += 1;
            let mut attributes = span.attributes;
            attributes.merge(std::mem::take(&mut open.span.attributes));
            open.span.attributes = attributes;
            prolong(&mut open.span, span.arrived, span.ttl);
            if !open.sampled {
                self.counts.held += 1;
                return;
            }
            let started = Span { events: Vec::new(), ..open.span.clone() };
            self.emit(Signal::SpanStarted(Arc::new(started)), out);
            return;
        }
        if self.finished.contains(key) {
            self.counts.start_after_end += 1;
            self.counts.refused += 1;
            return;
        }
        let waiting = self.waiting.remove(key).or_else(|| self.waiting.remove(submitted));
        let sampled = self.config.sampling.keeps(key.trace_id);
        if sampled && self.interest.contains(SignalSet::SPAN_STARTED) {
            out.push(Signal::SpanStarted(Arc::new(span.clone())));
        } else if !sampled && waiting.is_none() {
            self.counts.held += 1;
        }
        self.keep_open(span, sampled);
        if let Some(end) = waiting {
            self.finish(key, end, out);
        }
        self.keep_within_limits(out);
    }

    fn keep_within_limits(&mut self, out: &mut Vec<Signal>) {
        while self.open.len() > self.config.max_open_spans || self.open_bytes > self.config.max_open_bytes {
            self.evict_open(out);
        }
    }

    /// Adds what became known of an open span. Its end delivers it.
    fn update(&mut self, key: SpanKey, failed: bool, attributes: Attributes, out: &mut Vec<Signal>) {
        let Some(open) = self.open.get_mut(key) else {
            self.counts.late_update += 1;
            self.counts.refused += 1;
            return;
        };
        open.failed |= failed;
        let before = open.span.attributes.payload_bytes();
        open.span.attributes.merge(attributes);
        self.counts.dropped_attributes += cut_attributes(&mut open.span, self.config.max_attributes_per_span);
        let after = open.span.attributes.payload_bytes();
        open.bytes = open.bytes + after - before;
        self.open_bytes = self.open_bytes + after - before;
        self.counts.held += 1;
        self.keep_within_limits(out);
    }

    fn keep_open(&mut self, span: Span, sampled: bool) {
        self.aliases.add(&span);
        let bytes = size_of::<Span>() + span.name.len() + span.attributes.payload_bytes();
        self.open_bytes += bytes;
        self.evicted.remove(span.key());
        let (key, arrived) = (span.key(), span.arrived);
        self.open.insert(key, Open { span, bytes, failed: false, sampled }, arrived);
    }

    fn end(&mut self, end: WaitingEnd, out: &mut Vec<Signal>) {
        let key = end.key;
        if self.open.contains(key) {
            self.finish(key, end, out);
        } else if self.finished.contains(key) || self.waiting.contains(key) {
            self.counts.duplicate_end += 1;
            self.counts.refused += 1;
        } else if self.is_left_out(&end) && !self.evicted.contains(key) {
            // Its start may name another trace, which is sampled.
            self.counts.held += 1;
            self.wait_for_start(end, out);
        } else if self.is_left_out(&end) {
            self.evicted.remove(key);
            self.counts.sampled_out += 1;
            self.counts.refused += 1;
        } else if self.evicted.remove(key).is_some() {
            self.counts.ended_after_eviction += 1;
            self.remember_finished(key, end.arrived);
            self.emit(Signal::EndWaiting(Arc::new(end)), out);
        } else {
            self.counts.held += 1;
            self.emit(Signal::EndWaiting(Arc::new(end.clone())), out);
            self.wait_for_start(end, out);
        }
    }

    /// Joins an open span with its end.
    fn finish(&mut self, key: SpanKey, end: WaitingEnd, out: &mut Vec<Signal>) {
        let Some(open) = self.take_open(key) else { return };
        let mut span = open.span;
        let status = if open.failed { SpanStatus::Error } else { end.status };
        if !open.sampled {
            if status != SpanStatus::Error {
                self.remember_finished(key, end.arrived);
                self.refuse_span(&span);
                return;
            }
            self.release_logs(&span, out);
        }
        span.attributes.merge(end.attributes);
        self.cut_span(&mut span);
        span.end_time = Some(end.end_time);
        span.status = Some(status);
        span.state = SpanState::Ended;
        prolong(&mut span, end.arrived, end.ttl);
        self.remember_finished(key, end.arrived);
        self.emit(Signal::SpanEnded(Arc::new(span)), out);
    }

    fn take_open(&mut self, key: SpanKey) -> Option<Open> {
        let open = self.open.remove(key)?;
        self.open_bytes -= open.bytes;
        self.aliases.remove(&open.span);
        Some(open)
    }

    fn remember_finished(&mut self, key: SpanKey, arrived: Timestamp) {
        remember(&mut self.finished, key, arrived, self.config.remembered_spans);
    }

    fn cut_span(&mut self, span: &mut Span) {
        self.counts.dropped_attributes += cut_attributes(span, self.config.max_attributes_per_span);
    }

    /// Cuts values beyond the limit; attributes beyond the limit are cut when the span ends.
    fn cut(&mut self, attributes: &mut Attributes) {
        self.counts.truncated_values += limits::truncate_values(attributes, self.config.max_value_bytes);
    }
}

/// Cuts attributes beyond `max` and notes it on the span; says how many.
fn cut_attributes(span: &mut Span, max: usize) -> u64 {
    let cut = span.attributes.truncate(max);
    received::add(&mut span.dropped_attributes_count, cut);
    cut as u64
}

fn remember(keys: &mut Aged<()>, key: SpanKey, arrived: Timestamp, at_most: usize) {
    keys.insert(key, (), arrived);
    if keys.len() > at_most {
        keys.pop_oldest();
    }
}

/// A span expires with the latest of its events.
fn prolong(span: &mut Span, arrived: Timestamp, ttl: Ttl) {
    if arrived.saturating_add(ttl.as_duration()) >= span.expires() {
        (span.arrived, span.ttl) = (arrived, ttl);
    }
}
