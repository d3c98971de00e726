//! How much memory a value keeps alive: the one measure behind every byte budget.

use std::collections::HashSet;
use std::sync::Arc;

use crate::{
    Attribute, Attributes, Chunk, Event, LogBody, LogRecord, MetricPoint, Payload, Signal, Span, SpanEvent,
    StreamMark, Submission, Text, Value, WaitingEnd,
};

/// Measures how many bytes of memory a value keeps alive.
///
/// Borrowed text counts too, so that the measure is also an upper bound for the length of all texts.
///
/// ```
/// use telemetry_core::{RetainedBytes, attrs};
///
/// let attributes = attrs! { "prompt" => "x".repeat(1_000) };
/// assert!((1_000..1_200).contains(&attributes.retained_bytes()));
/// ```
pub trait RetainedBytes {
    /// Adds the memory behind this value's pointers to `count`.
    fn count_retained(&self, count: &mut RetainedCount);

    /// Returns the bytes of the value itself and of everything it keeps alive. Shared parts count once.
    fn retained_bytes(&self) -> usize {
        let mut count = RetainedCount::default();
        self.count_retained(&mut count);
        size_of_val(self) + count.bytes()
    }
}

/// A running count of retained bytes, which counts each shared part once.
///
/// ```
/// use std::sync::Arc;
/// use telemetry_core::RetainedCount;
///
/// let shared: Arc<str> = "x".repeat(1_000).into();
/// let mut count = RetainedCount::default();
/// count.add_shared_text(&shared);
/// let once = count.bytes();
/// count.add_shared_text(&Arc::clone(&shared));
/// assert_eq!(count.bytes(), once);
/// ```
#[derive(Debug, Default)]
pub struct RetainedCount {
    bytes: usize,
    /// Address of the shared part counted last: neighbours usually share the same one.
    latest: usize,
    /// Addresses of the shared parts counted so far.
    shared: HashSet<usize>,
}

/// The two counters in front of every `Arc`'s value.
const ARC_COUNTERS: usize = 2 * size_of::<usize>();

impl RetainedCount {
    /// Adds `bytes`.
    pub const fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Adds a shared value and what it keeps alive, unless this count contains it already.
    pub fn add_shared<T: RetainedBytes>(&mut self, part: &Arc<T>) {
        if self.is_new(Arc::as_ptr(part).addr()) {
            self.add(ARC_COUNTERS + size_of::<T>());
            part.count_retained(self);
        }
    }

    /// Adds shared text, unless this count contains it already.
    pub fn add_shared_text(&mut self, text: &Arc<str>) {
        if self.is_new(Arc::as_ptr(text).addr()) {
            self.add(ARC_COUNTERS + text.len());
        }
    }

    /// Returns the bytes counted so far.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_new(&mut self, address: usize) -> bool {
        if self.latest == address {
            return false;
        }
        self.latest = address;
        self.shared.insert(address)
    }
}

impl RetainedBytes for Text {
    fn count_retained(&self, count: &mut RetainedCount) {
        count.add(match self {
            Self::Borrowed(text) => text.len(),
            Self::Owned(text) => text.capacity(),
        });
    }
}

impl RetainedBytes for Value {
    fn count_retained(&self, count: &mut RetainedCount) {
        match self {
            Self::String(text) => text.count_retained(count),
            Self::Int(_) | Self::Float(_) | Self::Bool(_) | Self::Null => {}
        }
    }
}

impl RetainedBytes for Attributes {
    fn count_retained(&self, count: &mut RetainedCount) {
        count.add(self.len() * size_of::<Attribute>());
        for (key, value) in self {
            key.count_retained(count);
            value.count_retained(count);
        }
    }
}

impl RetainedBytes for Event {
    fn count_retained(&self, count: &mut RetainedCount) {
        match self {
            Self::UnstructuredLog(log) => log.message.count_retained(count),
            Self::Metric(metric) => {
                metric.metric.count_retained(count);
                metric.unit.count_retained(count);
            }
            Self::StructuredLog(log) => match &log.payload {
                Payload::SpanStart { name, .. } => name.count_retained(count),
                Payload::SpanUpdate { .. } | Payload::SpanEnd { .. } => {}
            },
        }
        self.attributes().count_retained(count);
    }
}

impl RetainedBytes for LogRecord {
    fn count_retained(&self, count: &mut RetainedCount) {
        match &self.body {
            LogBody::Message { message, .. } => message.count_retained(count),
            LogBody::SpanEvent { name } => name.count_retained(count),
        }
        self.attributes.count_retained(count);
        count_service(self.service_name.as_ref(), count);
    }
}

impl RetainedBytes for MetricPoint {
    fn count_retained(&self, count: &mut RetainedCount) {
        self.name.count_retained(count);
        self.unit.count_retained(count);
        self.attributes.count_retained(count);
        count_service(self.service_name.as_ref(), count);
        if let Some(mark) = &self.stream {
            count.add_shared(mark);
        }
    }
}

impl RetainedBytes for StreamMark {
    fn count_retained(&self, count: &mut RetainedCount) {
        self.state.count_retained(count);
    }
}

impl RetainedBytes for Span {
    fn count_retained(&self, count: &mut RetainedCount) {
        self.name.count_retained(count);
        self.attributes.count_retained(count);
        count_service(self.service_name.as_ref(), count);
        if let Some(trace_state) = &self.trace_state {
            trace_state.count_retained(count);
        }
        count.add(self.events.capacity() * size_of::<SpanEvent>());
        for event in &self.events {
            event.count_retained(count);
        }
    }
}

impl RetainedBytes for SpanEvent {
    fn count_retained(&self, count: &mut RetainedCount) {
        match self {
            Self::Log(log) => count.add_shared(log),
            Self::Metric(point) => count.add_shared(point),
        }
    }
}

impl RetainedBytes for WaitingEnd {
    fn count_retained(&self, count: &mut RetainedCount) {
        self.attributes.count_retained(count);
    }
}

impl RetainedBytes for Submission {
    fn count_retained(&self, count: &mut RetainedCount) {
        match self {
            Self::Event { event, .. } => event.count_retained(count),
            Self::Span(span) => boxed(&**span, count),
            Self::Log(log) => boxed(&**log, count),
            Self::Metric(point) => boxed(&**point, count),
        }
    }
}

impl RetainedBytes for Signal {
    fn count_retained(&self, count: &mut RetainedCount) {
        match self {
            Self::SpanStarted(span) | Self::SpanEnded(span) => count.add_shared(span),
            Self::EndWaiting(end) => count.add_shared(end),
            Self::Log(log) => count.add_shared(log),
            Self::Metric(point) => count.add_shared(point),
        }
    }
}

impl RetainedBytes for Chunk {
    fn count_retained(&self, count: &mut RetainedCount) {
        self.signals().count_retained(count);
    }
}

impl<T: RetainedBytes> RetainedBytes for [T] {
    fn count_retained(&self, count: &mut RetainedCount) {
        for item in self {
            count.add(size_of::<T>());
            item.count_retained(count);
        }
    }

    fn retained_bytes(&self) -> usize {
        let mut count = RetainedCount::default();
        self.count_retained(&mut count);
        count.bytes()
    }
}

fn boxed<T: RetainedBytes>(value: &T, count: &mut RetainedCount) {
    count.add(size_of::<T>());
    value.count_retained(count);
}

fn count_service(name: Option<&Arc<str>>, count: &mut RetainedCount) {
    if let Some(name) = name {
        count.add_shared_text(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventContext, Severity, SpanId, SpanKey, Timestamp, TraceId, Ttl};

    #[test]
    fn a_log_that_its_span_lists_again_counts_once() {
        let log = Arc::new(LogRecord {
            context: EventContext::None,
            timestamp: Timestamp::from_nanos(0),
            body: LogBody::Message { severity: Severity::Info, message: "x".repeat(10_000).into() },
            attributes: Attributes::default(),
            service_name: None,
            arrived: Timestamp::from_nanos(0),
            ttl: Ttl::default(),
        });
        let key = SpanKey::new(TraceId::from_u128(1).unwrap(), SpanId::from_u64(1).unwrap());
        let mut span = Span::open(key, "chat", Timestamp::from_nanos(0));
        span.events.push(SpanEvent::Log(Arc::clone(&log)));
        let signals = [Signal::Log(log), Signal::SpanEnded(Arc::new(span))];
        assert!((10_000..11_500).contains(&signals.retained_bytes()), "{}", signals.retained_bytes());
    }

    #[test]
    fn unused_capacity_is_memory_too() {
        let mut message = String::with_capacity(1 << 20);
        message.push('x');
        assert!(Event::log(Severity::Info, message).retained_bytes() >= 1 << 20);
    }
}
