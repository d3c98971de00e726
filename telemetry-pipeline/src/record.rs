//! What goes through a ring: at most 96 bytes, moved by value.

use fastant::Instant;
use telemetry_core::{
    Attributes, Event, EventContext, Payload, Severity, SpanId, SpanKey, SpanKind, SpanStatus, StructuredLog,
    Submission, Text, TraceId, Ttl, UnstructuredLog,
};

use crate::assembler::limits;
use crate::clock::Moment;

/// A record's payload above this many bytes is charged to the byte budget.
pub(crate) const FREE_BYTES: usize = 1_024;

/// One slot of a ring. Events lie flat in it, their time still in ticks; what is rare or large is boxed.
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
    /// What is rarer, or larger: metrics, updates, and events of a later version of the contract.
    Boxed { tick: Instant, event: Box<(Event, Ttl)> },
}

impl Record {
    /// An event that is logged at `tick`.
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

    /// When it was logged, in ticks.
    pub(crate) const fn tick(&self) -> Instant {
        match self {
            Self::Start { moment, .. } | Self::End { moment, .. } | Self::Log { moment, .. } => moment.tick,
            Self::Boxed { tick, .. } => *tick,
        }
    }

    /// Converts the record to what the assembler takes.
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

    /// Cuts texts at `max` bytes, so that one enormous value does not use up the budget of all; says how
    /// many.
    #[cold]
    pub(crate) fn truncate(&mut self, max: usize) -> u64 {
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

    /// Bytes that count against the budget: none where they are few.
    pub(crate) fn charged_bytes(&self) -> usize {
        Some(self.payload_bytes()).filter(|bytes| *bytes > FREE_BYTES).unwrap_or(0)
    }

    /// Bytes of payload; texts known at compile time count as well.
    #[inline]
    pub(crate) fn payload_bytes(&self) -> usize {
        match self {
            Self::Start { name, attributes, .. } => name.len() + attributes.payload_bytes(),
            Self::End { attributes, .. } => attributes.payload_bytes(),
            Self::Log { message, attributes, .. } => message.len() + attributes.payload_bytes(),
            Self::Boxed { event, .. } => event.0.attributes().payload_bytes(),
        }
    }
}

/// Two ids take 24 bytes in a record, an `EventContext` 32.
fn context(trace_id: Option<TraceId>, span_id: Option<SpanId>) -> EventContext {
    match (trace_id, span_id) {
        (Some(trace_id), Some(span_id)) => EventContext::Span(SpanKey::new(trace_id, span_id)),
        (Some(trace_id), None) => EventContext::Trace(trace_id),
        (None, _) => EventContext::None,
    }
}

#[cfg(test)]
mod tests {
    use telemetry_core::{MetricKind, Timestamp};

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
}
