//! What the assembler remembers: open spans, waiting ends, finished spans. Limits and age bound all of it.

use std::sync::Arc;

use telemetry_core::{
    Attributes, Recovered, RetainedBytes as _, Signal, SignalSet, Span, SpanEvent, SpanKey, SpanState,
    SpanStatus, Timestamp, Ttl, WaitingEnd,
};

use super::alias::Aliases;
use super::arrival_map::ArrivalMap;
use super::limits::{self, AssemblerConfig};
use crate::accounting::AssemblerCounts;

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
    pub(super) config: AssemblerConfig,
    pub(super) interest: SignalSet,
    pub(super) open: ArrivalMap<OpenSpan>,
    /// The sum of the open spans' bytes.
    pub(super) open_bytes: usize,
    waiting: ArrivalMap<WaitingEnd>,
    /// The sum of the waiting ends' bytes.
    waiting_bytes: usize,
    /// True if a sink reads the events that a span lists.
    pub(super) lists_events: bool,
    /// Finished spans, so that a second end is not mistaken for an early one.
    pub(super) finished: ArrivalMap<()>,
    /// Spans delivered unfinished. If their end arrives, the stores join it.
    pub(super) evicted: ArrivalMap<()>,
    pub(super) aliases: Aliases,
    pub(super) counts: AssemblerCounts,
}

/// A span that has started.
#[derive(Debug)]
pub(super) struct OpenSpan {
    pub(super) span: Span,
    /// Memory of the span and the events it lists.
    bytes: usize,
    /// How often it has started.
    pub(super) starts: u32,
    /// True if an update marked the span as failed.
    pub(super) failed: bool,
    /// True if its trace is sampled. Otherwise it is delivered only if it fails, and its logs wait for its
    /// end.
    pub(super) sampled: bool,
}

impl OpenSpan {
    /// Lists an event, and adds its memory to the span's and to `all_bytes`.
    pub(super) fn list(&mut self, event: SpanEvent, all_bytes: &mut usize) {
        let bytes = event.retained_bytes();
        self.span.events.push(event);
        self.bytes += bytes;
        *all_bytes += bytes;
    }

    /// Changes the span's attributes, and corrects its memory and `all_bytes`.
    pub(super) fn change_attributes(&mut self, all_bytes: &mut usize, change: impl FnOnce(&mut Span)) {
        let before = self.span.attributes.retained_bytes();
        change(&mut self.span);
        let after = self.span.attributes.retained_bytes();
        self.bytes = self.bytes + after - before;
        *all_bytes = *all_bytes + after - before;
    }
}

impl Assembler {
    /// Creates an assembler that knows the open spans and waiting ends of an earlier run.
    pub fn new(config: AssemblerConfig, recovered: Recovered) -> Self {
        let mut assembler = Self {
            config,
            interest: SignalSet::ALL,
            open: ArrivalMap::default(),
            open_bytes: 0,
            waiting: ArrivalMap::default(),
            waiting_bytes: 0,
            lists_events: true,
            finished: ArrivalMap::default(),
            evicted: ArrivalMap::default(),
            aliases: Aliases::default(),
            counts: AssemblerCounts::default(),
        };
        for span in recovered.open_spans {
            // Several stores may have the same span.
            if !assembler.open.contains(span.key()) {
                // A store has it, so it was sampled.
                assembler.insert_open(span, true);
            }
        }
        for end in recovered.waiting_ends {
            if !assembler.waiting.contains(end.key) {
                assembler.insert_waiting(end);
            }
        }
        assembler
    }

    /// Emits only signals of this interest. Spans are paired as before.
    #[must_use]
    pub fn with_interest(mut self, interest: SignalSet) -> Self {
        self.interest = interest;
        self
    }

    /// Lists logs and metric points on the open span they belong to, or not. Without the list, only their signals are
    /// delivered.
    #[must_use]
    pub fn with_listed_events(mut self, lists_events: bool) -> Self {
        self.lists_events = lists_events;
        self
    }

    /// Returns the counters.
    pub const fn counts(&self) -> &AssemblerCounts {
        &self.counts
    }

    /// Counts values that the redaction removed from an event.
    pub(crate) const fn count_redacted(&mut self, redacted: u64) {
        self.counts.redacted += redacted;
    }

    /// Returns the number of spans that have started and not ended.
    pub fn open_spans(&self) -> usize {
        self.open.len()
    }

    /// Returns the number of ends that wait for their start.
    pub fn waiting_ends(&self) -> usize {
        self.waiting.len()
    }

    /// Delivers spans that have been open, and ends that have been waiting, for too long at `now`.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Signal>) {
        let too_old = |arrived: Timestamp, age| now.since(arrived) > age;
        while self.open.oldest().is_some_and(|arrived| too_old(arrived, self.config.max_open_age)) {
            self.evict_oldest_open(out);
        }
        while self.waiting.oldest().is_some_and(|arrived| too_old(arrived, self.config.max_waiting_age)) {
            self.evict_oldest_waiting(out);
        }
    }

    pub(super) fn emit(&self, signal: Signal, out: &mut Vec<Signal>) {
        if self.interest.contains(signal.kind()) {
            out.push(signal);
        }
    }

    pub(super) fn insert_open(&mut self, span: Span, sampled: bool) {
        self.aliases.add(&span);
        let bytes = span.retained_bytes();
        self.open_bytes += bytes;
        self.evicted.remove(span.key());
        let (key, arrived) = (span.key(), span.arrived);
        self.open.insert(key, OpenSpan { span, bytes, starts: 1, failed: false, sampled }, arrived);
    }

    pub(super) fn remove_open(&mut self, key: SpanKey) -> Option<OpenSpan> {
        let open = self.open.remove(key)?;
        self.open_bytes -= open.bytes;
        self.aliases.remove(&open.span);
        Some(open)
    }

    pub(super) fn evict_beyond_limits(&mut self, out: &mut Vec<Signal>) {
        while self.open.len() > self.config.max_open_spans || self.open_bytes > self.config.max_open_bytes {
            self.evict_oldest_open(out);
        }
    }

    fn evict_oldest_open(&mut self, out: &mut Vec<Signal>) {
        let Some((key, open)) = self.open.pop_oldest() else { return };
        self.open_bytes -= open.bytes;
        self.aliases.remove(&open.span);
        self.counts.evicted += 1;
        let arrived = open.span.arrived;
        remember(&mut self.evicted, key, arrived, self.config.remembered_spans);
        if !open.sampled {
            self.count_sampled_out(&open.span);
            return;
        }
        let span = Span { state: SpanState::Unfinished, ..open.span };
        self.emit(Signal::SpanEnded(Arc::new(span)), out);
    }

    pub(super) fn wait_for_start(&mut self, end: WaitingEnd, out: &mut Vec<Signal>) {
        self.insert_waiting(end);
        while self.waiting.len() > self.config.max_waiting_ends
            || self.waiting_bytes > self.config.max_waiting_bytes
        {
            self.evict_oldest_waiting(out);
        }
    }

    fn insert_waiting(&mut self, end: WaitingEnd) {
        self.waiting_bytes += end.retained_bytes();
        let (key, arrived) = (end.key, end.arrived);
        self.waiting.insert(key, end, arrived);
    }

    pub(super) fn waits(&self, key: SpanKey) -> bool {
        self.waiting.contains(key)
    }

    /// Removes an end that waits, and its bytes from the sum.
    pub(super) fn remove_waiting(&mut self, key: SpanKey) -> Option<WaitingEnd> {
        let end = self.waiting.remove(key)?;
        self.waiting_bytes -= end.retained_bytes();
        Some(end)
    }

    fn evict_oldest_waiting(&mut self, out: &mut Vec<Signal>) {
        let Some((key, end)) = self.waiting.pop_oldest() else { return };
        self.waiting_bytes -= end.retained_bytes();
        if self.is_sampled_out(&end) {
            self.counts.sampled_out_spans += 1;
            return;
        }
        self.counts.unknown_start += 1;
        let span = Span {
            end_time: Some(end.end_time),
            status: Some(end.status),
            attributes: end.attributes,
            state: SpanState::Unfinished,
            arrived: end.arrived,
            ttl: end.ttl,
            ..Span::open(key, "", end.end_time)
        };
        self.emit(Signal::SpanEnded(Arc::new(span)), out);
    }

    pub(super) fn remember_finished(&mut self, key: SpanKey, arrived: Timestamp) {
        remember(&mut self.finished, key, arrived, self.config.remembered_spans);
    }

    /// Forgets spans and ends that a store has not kept, so that they are not refused as repetitions when
    /// they are submitted again.
    pub(crate) fn forget<'a>(&mut self, signals: impl IntoIterator<Item = &'a Signal>) {
        for signal in signals {
            match signal {
                Signal::SpanEnded(span) => drop(self.finished.remove(span.key())),
                Signal::EndWaiting(end) => {
                    self.finished.remove(end.key);
                    self.remove_waiting(end.key);
                }
                // Other signals are never refused as repetitions.
                _ => {}
            }
        }
    }

    /// Returns true if the end by itself shows that its span is sampled out.
    pub(super) fn is_sampled_out(&self, end: &WaitingEnd) -> bool {
        end.status != SpanStatus::Error && !self.config.sampling.keeps(end.key.trace_id)
    }

    fn count_sampled_out(&mut self, span: &Span) {
        self.counts.sampled_out_spans += 1;
        let logs = span.events.iter().filter(|event| matches!(event, SpanEvent::Log(_)));
        self.counts.sampled_out_logs += logs.count() as u64;
    }

    /// Counts a span that is sampled out, its logs, and the submission that completed it.
    pub(super) fn refuse_sampled_out(&mut self, span: &Span) {
        self.count_sampled_out(span);
        self.counts.sampled_out += 1;
        self.counts.refused += 1;
    }

    /// Cuts attributes beyond the limit, and counts them.
    pub(super) fn cut_attributes(&mut self, span: &mut Span) {
        self.counts.dropped_attributes += cut_attributes(span, self.config.max_attributes_per_span);
    }

    /// Cuts attributes of an event, and values, beyond the limits, and counts them. Returns the number of attributes that
    /// were cut.
    pub(super) fn cut_event(&mut self, attributes: &mut Attributes) -> usize {
        let cut = attributes.truncate(self.config.max_attributes_per_span);
        self.counts.dropped_attributes += cut as u64;
        self.cut_values(attributes);
        cut
    }

    /// Cuts values beyond the limit, and counts them.
    pub(super) fn cut_values(&mut self, attributes: &mut Attributes) {
        self.counts.truncated_values += limits::truncate_values(attributes, self.config.max_value_bytes);
    }
}

/// Cuts attributes beyond `max`, and counts them on the span. Returns how many were cut.
pub(super) fn cut_attributes(span: &mut Span, max: usize) -> u64 {
    let cut = span.attributes.truncate(max);
    add_dropped(&mut span.dropped_attributes_count, cut);
    cut as u64
}

/// Adds to a count of dropped items. A sender may have set it to any value, so the sum saturates.
pub(super) fn add_dropped(count: &mut u32, more: usize) {
    *count = count.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
}

/// Moves the span's expiry to that of a later event.
pub(super) fn prolong(span: &mut Span, arrived: Timestamp, ttl: Ttl) {
    if arrived.saturating_add(ttl.as_duration()) >= span.expires() {
        (span.arrived, span.ttl) = (arrived, ttl);
    }
}

fn remember(keys: &mut ArrivalMap<()>, key: SpanKey, arrived: Timestamp, at_most: usize) {
    keys.insert(key, (), arrived);
    if keys.len() > at_most {
        keys.pop_oldest();
    }
}
