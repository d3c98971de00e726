//! What LLM servers log, and what the pipeline accepts.

use crate::{
    Attributes, EventContext, LogRecord, MetricKind, MetricPoint, MetricValue, Severity, Span, SpanId,
    SpanKey, SpanKind, SpanStatus, Text, Timestamp, TraceId, Ttl,
};

/// One event: a log line, a metric point, or the start or end of a span.
///
/// [`crate::wire`] reads events in the JSON form of Llama Stack's `POST /v1/telemetry/events`.
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
    /// A metric point.
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
    /// Its severity.
    pub severity: Severity,
    /// Its attributes.
    pub attributes: Attributes,
}

/// One metric point.
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
    /// The unit. Points with different units are different series.
    pub unit: Text,
    /// The instrument; `None` leaves the choice to the rules of [`crate::Instruments`].
    pub kind: Option<MetricKind>,
    /// The labels.
    pub attributes: Attributes,
}

/// The start or the end of a span, or new attributes between them.
#[derive(Clone, Debug, PartialEq)]
pub struct StructuredLog {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// When it started or ended.
    pub timestamp: Timestamp,
    /// The start or the end.
    pub payload: Payload,
    /// Attributes known at this moment. For the same key, later values replace earlier ones.
    pub attributes: Attributes,
}

/// The content of a [`StructuredLog`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Payload {
    /// A span starts: `span_start`.
    SpanStart {
        /// The span's name.
        name: Text,
        /// The parent span, which may be in another process.
        parent_span_id: Option<SpanId>,
        /// The span's role in a remote call.
        kind: SpanKind,
    },
    /// Adds the event's attributes to an open span. Logged by this process only: it has no JSON form.
    SpanUpdate {
        /// True if the span failed, whatever status its end has.
        failed: bool,
    },
    /// A span ends: `span_end`.
    SpanEnd {
        /// How it ended.
        status: SpanStatus,
    },
}

impl Event {
    /// Returns a log line with the current time that belongs to no trace.
    pub fn log(severity: Severity, message: impl Into<Text>) -> Self {
        Self::UnstructuredLog(UnstructuredLog {
            context: EventContext::None,
            timestamp: Timestamp::now(),
            message: message.into(),
            severity,
            attributes: Attributes::default(),
        })
    }

    /// Returns a metric point with the current time that belongs to no trace.
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

    /// Returns the start of a span with the current time: a root span of kind internal, unless
    /// [`Event::with_parent`] and [`Event::with_span_kind`] change that.
    pub fn span_start(trace_id: TraceId, span_id: SpanId, name: impl Into<Text>) -> Self {
        Self::StructuredLog(StructuredLog {
            trace_id,
            span_id,
            timestamp: Timestamp::now(),
            payload: Payload::SpanStart { name: name.into(), parent_span_id: None, kind: SpanKind::Internal },
            attributes: Attributes::default(),
        })
    }

    /// Returns the end of a span with the current time.
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

    /// Assigns a log or a metric point to a span or a trace. Other events stay unchanged.
    #[must_use]
    pub fn in_context(mut self, context: EventContext) -> Self {
        match &mut self {
            Self::UnstructuredLog(log) => log.context = context,
            Self::Metric(metric) => metric.context = context,
            Self::StructuredLog(_) => {}
        }
        self
    }

    /// Sets the parent of a span start. Other events stay unchanged.
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

    /// Sets the kind of a span start. Other events stay unchanged.
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

    /// Sets the instrument of a metric point. Other events stay unchanged.
    #[must_use]
    pub fn with_kind(mut self, kind: MetricKind) -> Self {
        if let Self::Metric(metric) = &mut self {
            metric.kind = Some(kind);
        }
        self
    }

    /// Returns the trace and span that the event belongs to.
    pub const fn context(&self) -> EventContext {
        match self {
            Self::UnstructuredLog(log) => log.context,
            Self::Metric(metric) => metric.context,
            Self::StructuredLog(log) => EventContext::Span(SpanKey::new(log.trace_id, log.span_id)),
        }
    }

    /// Returns the event's own time.
    pub const fn timestamp(&self) -> Timestamp {
        match self {
            Self::UnstructuredLog(log) => log.timestamp,
            Self::Metric(metric) => metric.timestamp,
            Self::StructuredLog(log) => log.timestamp,
        }
    }

    /// Returns the event's attributes.
    pub const fn attributes(&self) -> &Attributes {
        match self {
            Self::UnstructuredLog(log) => &log.attributes,
            Self::Metric(metric) => &metric.attributes,
            Self::StructuredLog(log) => &log.attributes,
        }
    }
}

/// One item submitted to the pipeline: an event, or an item received by OTLP.
#[derive(Clone, Debug, PartialEq)]
pub enum Submission {
    /// An event, logged in order.
    Event {
        /// The event.
        event: Event,
        /// How long stores keep it.
        ttl: Ttl,
    },
    /// A whole span with its events, received by OTLP. Its start or its end may be missing.
    Span(Box<Span>),
    /// A log received by OTLP. OTLP promises no order, so it never counts as late.
    Log(Box<LogRecord>),
    /// A metric point received by OTLP.
    Metric(Box<MetricPoint>),
}
