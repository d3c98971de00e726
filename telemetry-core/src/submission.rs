//! What enters the pipeline.

use crate::{Event, LogRecord, MetricPoint, Span, Ttl};

/// One item submitted to the pipeline: an event, or a record that arrived whole by OTLP.
#[derive(Clone, Debug, PartialEq)]
pub enum Submission {
    /// An event, logged in order.
    Event {
        /// The event.
        event: Event,
        /// How long stores keep it.
        ttl: Ttl,
    },
    /// A whole span with its events, received by OTLP. One of its times may be missing.
    Span(Box<Span>),
    /// A log received by OTLP, where order means nothing: never counted as late.
    Log(Box<LogRecord>),
    /// A metric point received by OTLP.
    Metric(Box<MetricPoint>),
}
