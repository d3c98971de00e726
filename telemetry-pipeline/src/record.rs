//! What goes through the queue: at most 96 bytes, moved by value.

use telemetry_core::{
    Attributes, Event, EventContext, Payload, Severity, SpanId, SpanKey, SpanKind, SpanStatus, StructuredLog,
    Text, Timestamp, TraceId, Ttl, UnstructuredLog,
};

use crate::assembler::{Input, limits};

/// One slot of the queue. Events lie flat in it; what is rare or large is boxed.
#[derive(Debug)]
pub(crate) enum Record {
    Start {
        trace_id: TraceId,
        span_id: SpanId,
        parent_span_id: Option<SpanId>,
        timestamp: Timestamp,
        name: Text,
        kind: SpanKind,
        attributes: Attributes,
        ttl: Ttl,
    },
    End {
        trace_id: TraceId,
        span_id: SpanId,
        timestamp: Timestamp,
        status: SpanStatus,
        attributes: Attributes,
        ttl: Ttl,
    },
    Log {
        trace_id: Option<TraceId>,
        span_id: Option<SpanId>,
        timestamp: Timestamp,
        message: Text,
        severity: Severity,
        attributes: Attributes,
        ttl: Ttl,
    },
    /// What is rarer, or larger: metrics, updates, and events of a later version of the contract.
    Boxed(Box<(Event, Ttl)>),
}

impl Record {
    pub(crate) fn from_event(event: Event, ttl: Ttl) -> Self {
        match event {
            Event::UnstructuredLog(UnstructuredLog { context, timestamp, message, severity, attributes }) => {
                let (trace_id, span_id) = (context.trace_id(), context.span_id());
                Self::Log { trace_id, span_id, timestamp, message, severity, attributes, ttl }
            }
            Event::Metric(_) => Self::Boxed(Box::new((event, ttl))),
            Event::StructuredLog(StructuredLog { trace_id, span_id, timestamp, payload, attributes }) => {
                match payload {
                    Payload::SpanStart { name, parent_span_id, kind } => Self::Start {
                        trace_id,
                        span_id,
                        parent_span_id,
                        timestamp,
                        name,
                        kind,
                        attributes,
                        ttl,
                    },
                    Payload::SpanEnd { status } => {
                        Self::End { trace_id, span_id, timestamp, status, attributes, ttl }
                    }
                    payload => {
                        let log = StructuredLog { trace_id, span_id, timestamp, payload, attributes };
                        Self::Boxed(Box::new((Event::StructuredLog(log), ttl)))
                    }
                }
            }
        }
    }

    /// The assembler's input.
    pub(crate) fn into_input(self) -> Input {
        let (event, ttl) = match self {
            Self::Start { trace_id, span_id, parent_span_id, timestamp, name, kind, attributes, ttl } => {
                let payload = Payload::SpanStart { name, parent_span_id, kind };
                let log = StructuredLog { trace_id, span_id, timestamp, payload, attributes };
                (Event::StructuredLog(log), ttl)
            }
            Self::End { trace_id, span_id, timestamp, status, attributes, ttl } => {
                let payload = Payload::SpanEnd { status };
                let log = StructuredLog { trace_id, span_id, timestamp, payload, attributes };
                (Event::StructuredLog(log), ttl)
            }
            Self::Log { trace_id, span_id, timestamp, message, severity, attributes, ttl } => {
                let context = context(trace_id, span_id);
                let log = UnstructuredLog { context, timestamp, message, severity, attributes };
                (Event::UnstructuredLog(log), ttl)
            }
            Self::Boxed(boxed) => *boxed,
        };
        Input::Event { event, ttl }
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
            Self::Boxed(boxed) => match &mut boxed.0 {
                Event::Metric(metric) => limits::truncate_values(&mut metric.attributes, max),
                Event::StructuredLog(log) => limits::truncate_values(&mut log.attributes, max),
                Event::UnstructuredLog(log) => limits::truncate_values(&mut log.attributes, max),
            },
        }
    }

    /// Bytes of payload, for the budget; texts known at compile time count as well.
    pub(crate) fn payload_bytes(&self) -> usize {
        match self {
            Self::Start { name, attributes, .. } => name.len() + attributes.payload_bytes(),
            Self::End { attributes, .. } => attributes.payload_bytes(),
            Self::Log { message, attributes, .. } => message.len() + attributes.payload_bytes(),
            Self::Boxed(boxed) => boxed.0.attributes().payload_bytes(),
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
    use telemetry_core::MetricKind;

    use super::*;

    #[test]
    fn a_record_and_its_stamp_fit_two_cache_lines() {
        assert!(size_of::<Record>() <= 96, "{} bytes", size_of::<Record>());
    }

    #[test]
    fn an_event_comes_out_as_it_went_in() {
        let event = Event::metric("m", 1, "s").with_kind(MetricKind::Gauge);
        let record = Record::from_event(event.clone(), Ttl::default());
        assert_eq!(record.into_input(), Input::Event { event, ttl: Ttl::default() });
    }
}
