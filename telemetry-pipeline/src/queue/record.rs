//! Records: what a ring buffer holds, at most 96 bytes each.

use fastant::Instant;
use telemetry_core::{
    Attribute, Attributes, Event, EventContext, Payload, RetainedBytes as _, Severity, SpanId, SpanKey,
    SpanKind, SpanStatus, StructuredLog, Submission, Text, TraceId, Ttl, UnstructuredLog, Value,
};

use super::clock::Moment;
use crate::assembler::limits;

/// Records that retain more bytes than this are charged to the byte budget.
pub(super) const FREE_BYTES: usize = 2_048;

/// One slot of a ring. The frequent events are stored flat, with their time in ticks. Others are boxed.
#[derive(Debug)]
pub(crate) enum Record {
    Start {
        trace_id: TraceId,
        span_id: SpanId,
        parent_span_id: Option<SpanId>,
        moment: Moment,
        name: Text,
        kind: SpanKind,
        attributes: Attributes,
        ttl: Ttl,
    },
    End {
        trace_id: TraceId,
        span_id: SpanId,
        moment: Moment,
        status: SpanStatus,
        attributes: Attributes,
        ttl: Ttl,
    },
    Log {
        trace_id: Option<TraceId>,
        span_id: Option<SpanId>,
        moment: Moment,
        message: Text,
        severity: Severity,
        attributes: Attributes,
        ttl: Ttl,
    },
    /// Metrics, updates, and events of a later version.
    Boxed { tick: Instant, event: Box<(Event, Ttl)> },
}

impl Record {
    /// Converts an event that is logged at `tick`.
    pub(crate) fn from_event(event: Event, ttl: Ttl, tick: Instant) -> Self {
        let Some(moment) = Moment::exactly(event.timestamp(), tick) else {
            return Self::Boxed { tick, event: Box::new((event, ttl)) };
        };
        match event {
            Event::UnstructuredLog(UnstructuredLog {
                context,
                timestamp: _,
                message,
                severity,
                attributes,
            }) => {
                let (trace_id, span_id) = (context.trace_id(), context.span_id());
                Self::Log { trace_id, span_id, moment, message, severity, attributes, ttl }
            }
            Event::Metric(_) => Self::Boxed { tick, event: Box::new((event, ttl)) },
            Event::StructuredLog(StructuredLog { trace_id, span_id, timestamp, payload, attributes }) => {
                match payload {
                    Payload::SpanStart { name, parent_span_id, kind } => {
                        Self::Start { trace_id, span_id, parent_span_id, moment, name, kind, attributes, ttl }
                    }
                    Payload::SpanEnd { status } => {
                        Self::End { trace_id, span_id, moment, status, attributes, ttl }
                    }
                    payload => {
                        let log = StructuredLog { trace_id, span_id, timestamp, payload, attributes };
                        Self::Boxed { tick, event: Box::new((Event::StructuredLog(log), ttl)) }
                    }
                }
            }
        }
    }

    /// Returns the tick at which it was logged.
    pub(super) const fn tick(&self) -> Instant {
        match self {
            Self::Start { moment, .. } | Self::End { moment, .. } | Self::Log { moment, .. } => moment.tick,
            Self::Boxed { tick, .. } => *tick,
        }
    }

    /// Converts the record to a submission for the assembler.
    pub(crate) fn into_submission(self) -> Submission {
        let (event, ttl) = match self {
            Self::Start { trace_id, span_id, parent_span_id, moment, name, kind, attributes, ttl } => {
                let payload = Payload::SpanStart { name, parent_span_id, kind };
                let timestamp = moment.timestamp();
                let log = StructuredLog { trace_id, span_id, timestamp, payload, attributes };
                (Event::StructuredLog(log), ttl)
            }
            Self::End { trace_id, span_id, moment, status, attributes, ttl } => {
                let payload = Payload::SpanEnd { status };
                let timestamp = moment.timestamp();
                let log = StructuredLog { trace_id, span_id, timestamp, payload, attributes };
                (Event::StructuredLog(log), ttl)
            }
            Self::Log { trace_id, span_id, moment, message, severity, attributes, ttl } => {
                let (context, timestamp) = (context(trace_id, span_id), moment.timestamp());
                let log = UnstructuredLog { context, timestamp, message, severity, attributes };
                (Event::UnstructuredLog(log), ttl)
            }
            Self::Boxed { event, .. } => *event,
        };
        Submission::Event { event, ttl }
    }

    /// Cuts texts to `max` bytes, so that one enormous value does not use up the whole byte budget. Returns
    /// how many texts were cut.
    #[cold]
    pub(super) fn truncate(&mut self, max: usize) -> u64 {
        match self {
            Self::Start { name, attributes, .. } => {
                limits::truncate(name, max) + limits::truncate_values(attributes, max)
            }
            Self::End { attributes, .. } => limits::truncate_values(attributes, max),
            Self::Log { message, attributes, .. } => {
                limits::truncate(message, max) + limits::truncate_values(attributes, max)
            }
            Self::Boxed { event, .. } => match &mut event.0 {
                Event::Metric(metric) => limits::truncate_values(&mut metric.attributes, max),
                Event::StructuredLog(log) => limits::truncate_values(&mut log.attributes, max),
                Event::UnstructuredLog(log) => limits::truncate_values(&mut log.attributes, max),
            },
        }
    }

    /// Removes the attributes of an end. Returns how many there were.
    pub(super) fn drop_attributes(&mut self) -> u64 {
        match self {
            Self::End { attributes, .. } => std::mem::take(attributes).len() as u64,
            Self::Start { .. } | Self::Log { .. } | Self::Boxed { .. } => 0,
        }
    }

    /// Returns the bytes to charge to the byte budget. Small records are free.
    pub(super) fn charged_bytes(&self) -> usize {
        Some(self.retained_bytes()).filter(|bytes| *bytes > FREE_BYTES).unwrap_or(0)
    }

    /// Returns the bytes that the record keeps alive outside its slot. This is also an upper bound for the
    /// length of all its texts.
    #[inline]
    pub(crate) fn retained_bytes(&self) -> usize {
        match self {
            Self::Start { name, attributes, .. } => text_bytes(name) + attributes_bytes(attributes),
            Self::End { attributes, .. } => attributes_bytes(attributes),
            Self::Log { message, attributes, .. } => text_bytes(message) + attributes_bytes(attributes),
            Self::Boxed { event, .. } => size_of::<Ttl>() + event.0.retained_bytes(),
        }
    }
}

/// Returns the bytes that a text keeps alive. Borrowed text counts too.
///
/// This is the measure of [`telemetry_core::RetainedBytes`] without its set of shared parts, which would cost
/// the caller a few nanoseconds for each event. A test checks that both agree.
#[inline]
pub(crate) const fn text_bytes(text: &Text) -> usize {
    match text {
        Text::Borrowed(text) => text.len(),
        Text::Owned(text) => text.capacity(),
    }
}

/// Returns the bytes that attributes keep alive, as [`text_bytes`] does.
#[inline]
pub(crate) fn attributes_bytes(attributes: &Attributes) -> usize {
    let texts = attributes.iter().map(|(key, value)| match value {
        Value::String(text) => text_bytes(key) + text_bytes(text),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Null => text_bytes(key),
    });
    attributes.len() * size_of::<Attribute>() + texts.sum::<usize>()
}

/// Rebuilds the context. Two ids take 24 bytes in a record, an `EventContext` would take 32.
fn context(trace_id: Option<TraceId>, span_id: Option<SpanId>) -> EventContext {
    match (trace_id, span_id) {
        (Some(trace_id), Some(span_id)) => EventContext::Span(SpanKey::new(trace_id, span_id)),
        (Some(trace_id), None) => EventContext::Trace(trace_id),
        (None, _) => EventContext::None,
    }
}

#[cfg(test)]
mod tests {
    use telemetry_core::{MetricKind, RetainedCount, Timestamp, attrs};

    use super::*;

    #[test]
    fn a_record_is_one_and_a_half_cache_lines() {
        assert!(size_of::<Record>() <= 96, "{} bytes", size_of::<Record>());
    }

    #[test]
    fn an_event_comes_out_as_it_went_in() {
        let log = |at| Event::log(Severity::Info, "x").at(Timestamp::from_nanos(at));
        let metric = Event::metric("m", 1, "s").with_kind(MetricKind::Gauge);
        for event in [metric, log(i64::MIN), log(0), log(i64::MAX)] {
            let tick = Instant::now();
            let record = Record::from_event(event.clone(), Ttl::default(), tick);
            assert_eq!(record.into_submission(), Submission::Event { event, ttl: Ttl::default() });
        }
    }

    #[test]
    fn records_are_measured_as_all_other_memory_is() {
        let mut roomy = String::with_capacity(100);
        roomy.push('x');
        let attributes = attrs! { "borrowed" => "text", "owned" => "x".repeat(9), "roomy" => roomy, "n" => 1, "no" => Value::Null };
        let events = [
            Event::log(Severity::Info, "x".repeat(20)).with_attributes(attributes.clone()),
            Event::span_start(TraceId::from_u128(1).unwrap(), SpanId::from_u64(1).unwrap(), "chat")
                .with_attributes(attributes.clone()),
            Event::span_end(TraceId::from_u128(1).unwrap(), SpanId::from_u64(1).unwrap(), SpanStatus::Ok)
                .with_attributes(attributes),
        ];
        for event in events {
            let mut count = RetainedCount::default();
            event.count_retained(&mut count);
            let record = Record::from_event(event, Ttl::default(), Instant::now());
            assert_eq!(record.retained_bytes(), count.bytes(), "{record:?}");
        }
    }
}
