//! Measures how much memory a value keeps alive. Every byte budget uses this measure.

use std::collections::HashSet;
use std::sync::Arc;

use crate::query::{MetricPointValue, MetricSeries, SpanTree, SpanTreeNode};
use crate::{
    Attribute, Attributes, Chunk, Event, LogBody, LogRecord, MetricPoint, Payload, Signal, Span, SpanEvent,
    StreamMark, Submission, Text, Trace, Value, WaitingEnd,
};

/// Measures how many bytes of memory a value keeps alive.
///
/// Borrowed text counts too, so that the result is also an upper bound for the length of all texts.
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

    /// Returns the size of the value and of everything that it keeps alive. Shared parts count once.
    fn retained_bytes(&self) -> usize {
        let mut count = RetainedCount::default();
        self.count_retained(&mut count);
        size_of_val(self) + count.bytes()
    }
}

/// Adds up retained bytes, and counts each shared part once.
///
/// It allocates only for values with many shared parts. All values must exist when counting starts: a part
/// that is cloned after it was counted counts again.
///
/// ```
/// use std::sync::Arc;
/// use telemetry_core::{RetainedBytes as _, RetainedCount};
///
/// let service: Arc<str> = "x".repeat(1_000).into();
/// let same_service = Arc::clone(&service);
/// let mut count = RetainedCount::default();
/// service.count_retained(&mut count);
/// let once = count.bytes();
/// same_service.count_retained(&mut count);
/// assert_eq!(count.bytes(), once);
/// ```
#[derive(Debug, Default)]
pub struct RetainedCount {
    bytes: usize,
    /// Addresses of the first shared parts, without an allocation. Zero is a free place.
    first: [usize; 8],
    /// Addresses of all further shared parts.
    others: HashSet<usize>,
}

/// The two counters in front of every `Arc`'s value.
const ARC_COUNTERS: usize = 2 * size_of::<usize>();

impl RetainedCount {
    /// Adds `bytes`.
    pub const fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Returns the bytes counted so far.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns true if `part` was not counted before, and remembers it.
    fn is_new<T: ?Sized>(&mut self, part: &Arc<T>) -> bool {
        // Nobody else has a part with one owner, so that it cannot be counted twice.
        if Arc::strong_count(part) == 1 {
            return true;
        }
        let address = Arc::as_ptr(part).addr();
        match self.first.iter_mut().find(|place| **place == 0 || **place == address) {
            Some(place) => std::mem::replace(place, address) == 0,
            None => self.others.insert(address),
        }
    }
}

impl<T: RetainedBytes> RetainedBytes for Arc<T> {
    fn count_retained(&self, count: &mut RetainedCount) {
        if count.is_new(self) {
            count.add(ARC_COUNTERS + size_of::<T>());
            (**self).count_retained(count);
        }
    }
}

impl RetainedBytes for Arc<str> {
    fn count_retained(&self, count: &mut RetainedCount) {
        if count.is_new(self) {
            count.add(ARC_COUNTERS + self.len());
        }
    }
}

impl<T: RetainedBytes> RetainedBytes for Box<T> {
    fn count_retained(&self, count: &mut RetainedCount) {
        count.add(size_of::<T>());
        (**self).count_retained(count);
    }
}

impl<T: RetainedBytes> RetainedBytes for Option<T> {
    fn count_retained(&self, count: &mut RetainedCount) {
        if let Some(value) = self {
            value.count_retained(count);
        }
    }
}

impl<T: RetainedBytes> RetainedBytes for [T] {
    fn count_retained(&self, count: &mut RetainedCount) {
        for item in self {
            item.count_retained(count);
        }
    }
}

impl<T: RetainedBytes> RetainedBytes for Vec<T> {
    fn count_retained(&self, count: &mut RetainedCount) {
        count.add(self.capacity() * size_of::<T>());
        self.as_slice().count_retained(count);
    }
}

impl<A: RetainedBytes, B: RetainedBytes> RetainedBytes for (A, B) {
    fn count_retained(&self, count: &mut RetainedCount) {
        self.0.count_retained(count);
        self.1.count_retained(count);
    }
}

impl RetainedBytes for String {
    fn count_retained(&self, count: &mut RetainedCount) {
        count.add(self.capacity());
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
        for attribute in self {
            attribute.count_retained(count);
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

impl RetainedBytes for Submission {
    fn count_retained(&self, count: &mut RetainedCount) {
        match self {
            Self::Event { event, .. } => event.count_retained(count),
            Self::Span(span) => span.count_retained(count),
            Self::Log(log) => log.count_retained(count),
            Self::Metric(point) => point.count_retained(count),
        }
    }
}

impl RetainedBytes for Signal {
    fn count_retained(&self, count: &mut RetainedCount) {
        match self {
            Self::SpanStarted(span) | Self::SpanEnded(span) => span.count_retained(count),
            Self::EndWaiting(end) => end.count_retained(count),
            Self::Log(log) => log.count_retained(count),
            Self::Metric(point) => point.count_retained(count),
        }
    }
}

impl RetainedBytes for SpanEvent {
    fn count_retained(&self, count: &mut RetainedCount) {
        match self {
            Self::Log(log) => log.count_retained(count),
            Self::Metric(point) => point.count_retained(count),
        }
    }
}

impl RetainedBytes for LogBody {
    fn count_retained(&self, count: &mut RetainedCount) {
        match self {
            Self::Message { message: text, .. } | Self::SpanEvent { name: text } => {
                text.count_retained(count);
            }
        }
    }
}

impl RetainedBytes for Chunk {
    fn count_retained(&self, count: &mut RetainedCount) {
        count.add(size_of_val(self.signals()));
        self.signals().count_retained(count);
    }
}

impl RetainedBytes for MetricPointValue {
    fn count_retained(&self, _: &mut RetainedCount) {}
}

/// Implements [`RetainedBytes`] for a struct from its fields with pointers.
macro_rules! retained_fields {
    ($($type:ty { $($field:ident),+ })+) => {$(
        impl RetainedBytes for $type {
            fn count_retained(&self, count: &mut RetainedCount) {
                $(self.$field.count_retained(count);)+
            }
        }
    )+};
}

retained_fields! {
    LogRecord { body, attributes, service_name }
    MetricPoint { name, unit, attributes, service_name, stream }
    StreamMark { state }
    Span { name, service_name, attributes, events, trace_state }
    WaitingEnd { attributes }
    Trace { service_name }
    SpanTree { nodes }
    SpanTreeNode { span }
    MetricSeries { metric, labels, unit, values }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventContext, Severity, SpanId, SpanKey, Timestamp, TraceId, Ttl};

    fn log(message: String, service_name: Option<Arc<str>>) -> Arc<LogRecord> {
        Arc::new(LogRecord {
            context: EventContext::None,
            timestamp: Timestamp::from_nanos(0),
            body: LogBody::Message { severity: Severity::Info, message: message.into() },
            attributes: Attributes::default(),
            service_name,
            arrived: Timestamp::from_nanos(0),
            ttl: Ttl::default(),
        })
    }

    #[test]
    fn a_log_that_its_span_lists_again_counts_once() {
        let log = log("x".repeat(10_000), None);
        let key = SpanKey::new(TraceId::from_u128(1).unwrap(), SpanId::from_u64(1).unwrap());
        let mut span = Span::open(key, "chat", Timestamp::from_nanos(0));
        span.events.push(SpanEvent::Log(Arc::clone(&log)));
        let signals = [Signal::Log(log), Signal::SpanEnded(Arc::new(span))];
        assert!((10_000..11_500).contains(&signals.retained_bytes()), "{}", signals.retained_bytes());
    }

    #[test]
    fn many_shared_parts_count_once_each() {
        let service: Arc<str> = "s".repeat(1_000_000).into();
        let logs: Vec<_> = (0..100).map(|_| log("x".repeat(1_000), Some(Arc::clone(&service)))).collect();
        let twice = [logs.clone(), logs].concat();
        assert!((1_100_000..1_150_000).contains(&twice.retained_bytes()), "{}", twice.retained_bytes());
    }

    #[test]
    fn unused_capacity_counts() {
        let mut message = String::with_capacity(1 << 20);
        message.push('x');
        assert!(Event::log(Severity::Info, message).retained_bytes() >= 1 << 20);
    }
}
