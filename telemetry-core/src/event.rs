//! What LLM servers log: free-form logs, metrics, span starts and ends.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::words::words;
use crate::{Attributes, SpanId, SpanKey, SpanKind, SpanStatus, Text, Timestamp, TraceId};

/// One event, as Llama Stack's `POST /v1/telemetry/events` takes it. Tagged by `type` on the wire;
/// [`crate::wire`] reads and writes that form.
///
/// ```
/// use telemetry_core::{Event, Severity, attrs};
///
/// let log = Event::log(Severity::Warn, "slow answer");
/// let metric = Event::metric("prompt_tokens", 42, "tokens").with_attributes(attrs! { "model_id" => "m1" });
/// assert!(matches!(log, Event::UnstructuredLog(_)));
/// assert!(matches!(metric, Event::Metric(_)));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A free-form log line.
    UnstructuredLog(UnstructuredLog),
    /// One measurement.
    Metric(Metric),
    /// The start or the end of a span.
    StructuredLog(StructuredLog),
}

/// A free-form log line.
#[derive(Clone, Debug, PartialEq)]
pub struct UnstructuredLog {
    /// The trace and span it belongs to, if any.
    pub context: EventContext,
    /// When it was logged.
    pub timestamp: Timestamp,
    /// The text.
    pub message: Text,
    /// How much it matters.
    pub severity: Severity,
    /// Attributes of the line.
    pub attributes: Attributes,
}

/// One measurement of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// The trace and span it belongs to, if any.
    pub context: EventContext,
    /// When it was measured.
    pub timestamp: Timestamp,
    /// The metric's name, not empty.
    pub metric: Text,
    /// The measured value.
    pub value: MetricValue,
    /// The unit; different units are different series.
    pub unit: Text,
    /// The instrument, where the caller says it; otherwise the rules of [`crate::Instruments`] decide.
    pub kind: Option<MetricKind>,
    /// The labels.
    pub attributes: Attributes,
}

/// The start or the end of a span, or what became known between them.
#[derive(Clone, Debug, PartialEq)]
pub struct StructuredLog {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that starts or ends.
    pub span_id: SpanId,
    /// When it starts or ends.
    pub timestamp: Timestamp,
    /// Start or end, and what belongs to it.
    pub payload: Payload,
    /// Attributes known at this moment; later ones win, those of the end over all.
    pub attributes: Attributes,
}

/// What a [`StructuredLog`] says. Open to more types later.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Payload {
    /// `span_start`.
    SpanStart {
        /// The span's name.
        name: Text,
        /// The parent, which may be in another process.
        parent_span_id: Option<SpanId>,
        /// Its role in a remote call.
        kind: SpanKind,
    },
    /// More about a span that is open: the event's attributes. Made by this process alone; it has no
    /// form on the wire.
    SpanUpdate {
        /// Whether the span ends as failed, whatever its end says.
        failed: bool,
    },
    /// `span_end`.
    SpanEnd {
        /// How it ended.
        status: SpanStatus,
    },
}

/// Where a log or a metric belongs. A span id without its trace can't be said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventContext {
    /// To no trace.
    #[default]
    None,
    /// To a trace, but to none of its spans.
    Trace(TraceId),
    /// To a span.
    Span(SpanKey),
}

impl EventContext {
    /// The trace, if it belongs to one.
    pub const fn trace_id(self) -> Option<TraceId> {
        match self {
            Self::None => None,
            Self::Trace(trace_id) => Some(trace_id),
            Self::Span(key) => Some(key.trace_id),
        }
    }

    /// The span, if it belongs to one.
    pub const fn span_id(self) -> Option<SpanId> {
        match self {
            Self::None | Self::Trace(_) => None,
            Self::Span(key) => Some(key.span_id),
        }
    }

    /// The span's key, if it belongs to a span.
    pub const fn span_key(self) -> Option<SpanKey> {
        match self {
            Self::None | Self::Trace(_) => None,
            Self::Span(key) => Some(key),
        }
    }
}

/// A metric's value; integers and floats stay apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetricValue {
    /// An integer.
    Int(i64),
    /// A finite float.
    Float(f64),
}

impl MetricValue {
    /// The value as a double; integers beyond 2^53 are rounded.
    #[expect(clippy::cast_precision_loss, reason = "metric queries answer in doubles, as the reference does")]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Int(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

impl From<i64> for MetricValue {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<i32> for MetricValue {
    fn from(number: i32) -> Self {
        Self::Int(number.into())
    }
}

impl From<u32> for MetricValue {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<f64> for MetricValue {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

words! {
    /// How much a log line matters. Ordered: `Verbose < Debug < … < Critical`.
    Severity {
        /// Finest detail; OpenTelemetry TRACE.
        Verbose = "verbose",
        /// For whoever debugs.
        Debug = "debug",
        /// Ordinary news.
        Info = "info",
        /// Something to look at.
        Warn = "warn",
        /// Something failed.
        Error = "error",
        /// Something must be done; OpenTelemetry FATAL.
        Critical = "critical",
    }
}

words! {
    /// The instrument a metric is.
    MetricKind {
        /// Increments that only grow.
        Counter = "counter",
        /// Increments of either sign.
        UpDownCounter = "up_down_counter",
        /// The latest value counts.
        Gauge = "gauge",
        /// The distribution counts.
        Histogram = "histogram",
    }
}

/// How long stores keep an event, counted from its arrival: 1 s to 136 years, 7 days by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ttl(NonZeroU32);

impl Ttl {
    /// A time to live of `seconds`; huge ones saturate, zero is none.
    ///
    /// ```
    /// use telemetry_core::Ttl;
    /// assert_eq!(Ttl::from_seconds(60).unwrap().as_duration().as_secs(), 60);
    /// assert_eq!(Ttl::from_seconds(0), None);
    /// assert_eq!(Ttl::default().as_duration().as_secs(), 604_800);
    /// ```
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        NonZeroU32::new(u32::try_from(seconds).unwrap_or(u32::MAX)).map(Self)
    }

    /// The time to live as a duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0.get() as u64)
    }
}

impl Default for Ttl {
    fn default() -> Self {
        const { Self(NonZeroU32::new(7 * 24 * 60 * 60).expect("not zero")) }
    }
}

impl Event {
    /// A log line of now, which belongs to no span yet.
    pub fn log(severity: Severity, message: impl Into<Text>) -> Self {
        Self::UnstructuredLog(UnstructuredLog {
            context: EventContext::None,
            timestamp: Timestamp::now(),
            message: message.into(),
            severity,
            attributes: Attributes::default(),
        })
    }

    /// A measurement of now, which belongs to no span yet.
    pub fn metric(metric: impl Into<Text>, value: impl Into<MetricValue>, unit: impl Into<Text>) -> Self {
        Self::Metric(Metric {
            context: EventContext::None,
            timestamp: Timestamp::now(),
            metric: metric.into(),
            value: value.into(),
            unit: unit.into(),
            kind: None,
            attributes: Attributes::default(),
        })
    }

    /// The start of a span, now, as a root of kind internal; [`Event::with_parent`] and
    /// [`Event::with_span_kind`] say otherwise.
    pub fn span_start(trace_id: TraceId, span_id: SpanId, name: impl Into<Text>) -> Self {
        Self::StructuredLog(StructuredLog {
            trace_id,
            span_id,
            timestamp: Timestamp::now(),
            payload: Payload::SpanStart { name: name.into(), parent_span_id: None, kind: SpanKind::Internal },
            attributes: Attributes::default(),
        })
    }

    /// The end of a span, now.
    pub fn span_end(trace_id: TraceId, span_id: SpanId, status: SpanStatus) -> Self {
        Self::StructuredLog(StructuredLog {
            trace_id,
            span_id,
            timestamp: Timestamp::now(),
            payload: Payload::SpanEnd { status },
            attributes: Attributes::default(),
        })
    }

    /// Replaces the attributes.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Attributes) -> Self {
        match &mut self {
            Self::UnstructuredLog(log) => log.attributes = attributes,
            Self::Metric(metric) => metric.attributes = attributes,
            Self::StructuredLog(log) => log.attributes = attributes,
        }
        self
    }

    /// Replaces the timestamp.
    #[must_use]
    pub fn at(mut self, time: Timestamp) -> Self {
        match &mut self {
            Self::UnstructuredLog(log) => log.timestamp = time,
            Self::Metric(metric) => metric.timestamp = time,
            Self::StructuredLog(log) => log.timestamp = time,
        }
        self
    }

    /// Puts a log or a metric into a span or a trace; starts and ends have their ids already and stay as they are.
    #[must_use]
    pub fn in_context(mut self, context: EventContext) -> Self {
        match &mut self {
            Self::UnstructuredLog(log) => log.context = context,
            Self::Metric(metric) => metric.context = context,
            Self::StructuredLog(_) => {}
        }
        self
    }

    /// Gives a span start its parent; other events stay as they are.
    #[must_use]
    pub fn with_parent(mut self, parent: SpanId) -> Self {
        if let Self::StructuredLog(StructuredLog {
            payload: Payload::SpanStart { parent_span_id, .. }, ..
        }) = &mut self
        {
            *parent_span_id = Some(parent);
        }
        self
    }

    /// Says which role in a remote call a span that starts has; other events stay as they are.
    ///
    /// ```
    /// use telemetry_core::{Event, Payload, SpanId, SpanKind, TraceId};
    ///
    /// let (trace, span) = (TraceId::from_u128(1).unwrap(), SpanId::from_u64(2).unwrap());
    /// let start = Event::span_start(trace, span, "POST /chat").with_span_kind(SpanKind::Server);
    /// let Event::StructuredLog(log) = start else { unreachable!() };
    /// assert!(matches!(log.payload, Payload::SpanStart { kind: SpanKind::Server, .. }));
    /// ```
    #[must_use]
    pub fn with_span_kind(mut self, span_kind: SpanKind) -> Self {
        if let Self::StructuredLog(StructuredLog { payload: Payload::SpanStart { kind, .. }, .. }) = &mut self
        {
            *kind = span_kind;
        }
        self
    }

    /// Says which instrument a metric is; other events stay as they are.
    #[must_use]
    pub fn with_kind(mut self, kind: MetricKind) -> Self {
        if let Self::Metric(metric) = &mut self {
            metric.kind = Some(kind);
        }
        self
    }

    /// The trace and span the event belongs to.
    pub const fn context(&self) -> EventContext {
        match self {
            Self::UnstructuredLog(log) => log.context,
            Self::Metric(metric) => metric.context,
            Self::StructuredLog(log) => EventContext::Span(SpanKey::new(log.trace_id, log.span_id)),
        }
    }

    /// The event's own time.
    pub const fn timestamp(&self) -> Timestamp {
        match self {
            Self::UnstructuredLog(log) => log.timestamp,
            Self::Metric(metric) => metric.timestamp,
            Self::StructuredLog(log) => log.timestamp,
        }
    }

    /// The event's attributes.
    pub const fn attributes(&self) -> &Attributes {
        match self {
            Self::UnstructuredLog(log) => &log.attributes,
            Self::Metric(metric) => &metric.attributes,
            Self::StructuredLog(log) => &log.attributes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_ordered_and_read_back() {
        assert!(Severity::Verbose < Severity::Critical);
        for &severity in Severity::ALL {
            assert_eq!(severity.as_str().parse(), Ok(severity));
        }
        assert_eq!(
            "fatal".parse::<Severity>().unwrap_err().to_string(),
            "`fatal` is none of verbose, debug, info, warn, error, critical"
        );
    }

    #[test]
    fn ttl_saturates() {
        assert_eq!(Ttl::from_seconds(u64::MAX).unwrap().as_duration().as_secs(), u64::from(u32::MAX));
    }
}
