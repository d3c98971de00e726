//! Spans and traces, as the assembler emits them and queries return them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::named_enum::named_enum;
use crate::{Attributes, LogRecord, MetricPoint, SpanId, SpanKey, Text, Timestamp, TraceId, Ttl};

named_enum! {
    /// How a span ended. A span that is open, or whose status was never set, has no status.
    SpanStatus {
        /// It succeeded.
        Ok = "ok",
        /// It failed.
        Error = "error",
    }
}

named_enum! {
    /// The role of a span in a remote call (OpenTelemetry's `SpanKind`).
    SpanKind {
        /// Within one process; the default.
        Internal = "internal",
        /// Handles a remote request.
        Server = "server",
        /// Sends a remote request.
        Client = "client",
        /// Sends a message.
        Producer = "producer",
        /// Handles a message.
        Consumer = "consumer",
    }
}

named_enum! {
    /// How complete a span is.
    SpanState {
        /// It has started and not ended.
        Open = "open",
        /// It is complete and never changes again.
        Ended = "ended",
        /// The start or the end is missing: the span was evicted while open, its process died, or its start
        /// never arrived. The missing part can still complete it.
        Unfinished = "unfinished",
    }
}

/// A span, with the ids and times that the caller logged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The trace it belongs to: the remote trace if the start carried a `traceparent`.
    pub trace_id: TraceId,
    /// Its id within the trace.
    pub span_id: SpanId,
    /// Its parent as logged, even if that span is not known here.
    pub parent_span_id: Option<SpanId>,
    /// Its name; empty if the start never arrived.
    pub name: Text,
    /// Its role in a remote call.
    pub kind: SpanKind,
    /// The service that logged it; `None` is the service of this process.
    pub service_name: Option<Arc<str>>,
    /// When it started; equal to the end if the start never arrived.
    pub start_time: Timestamp,
    /// When it ended; `None` while open, or if the end never arrived.
    pub end_time: Option<Timestamp>,
    /// How it ended.
    pub status: Option<SpanStatus>,
    /// Attributes of the start and the end. If both have a key, the end's value is kept.
    pub attributes: Attributes,
    /// Its logs and metrics, in order of arrival. Empty in answers to queries that do not ask for them.
    pub events: Vec<SpanEvent>,
    /// The W3C `tracestate`, as logged.
    pub trace_state: Option<Text>,
    /// True for the first span of its trace in this process: its parent is remote.
    pub local_root: bool,
    /// The trace id of its events, if a `traceparent` moved the span to another trace.
    pub submitted_trace_id: Option<TraceId>,
    /// How complete it is.
    pub state: SpanState,
    /// The number of attributes that a configured limit cut.
    pub dropped_attributes_count: u32,
    /// The number of events that a configured limit cut.
    pub dropped_events_count: u32,
    /// When its latest event reached this program.
    pub arrived: Timestamp,
    /// How long stores keep it, counted from `arrived`.
    pub ttl: Ttl,
}

impl Span {
    /// Returns an open root span with defaults everywhere else, for literals: `Span { kind, ..Span::open(…) }`.
    pub fn open(key: SpanKey, name: impl Into<Text>, start_time: Timestamp) -> Self {
        Self {
            trace_id: key.trace_id,
            span_id: key.span_id,
            parent_span_id: None,
            name: name.into(),
            kind: SpanKind::Internal,
            service_name: None,
            start_time,
            end_time: None,
            status: None,
            attributes: Attributes::default(),
            events: Vec::new(),
            trace_state: None,
            local_root: false,
            submitted_trace_id: None,
            state: SpanState::Open,
            dropped_attributes_count: 0,
            dropped_events_count: 0,
            arrived: start_time,
            ttl: Ttl::default(),
        }
    }

    /// Returns the trace id and the span id.
    pub const fn key(&self) -> SpanKey {
        SpanKey::new(self.trace_id, self.span_id)
    }

    /// Returns the time at which stores forget the span.
    pub fn expires(&self) -> Timestamp {
        self.arrived.saturating_add(self.ttl.as_duration())
    }

    /// Returns the milliseconds from start to end, never negative; `None` without an end.
    pub fn duration_ms(&self) -> Option<f64> {
        self.end_time.map(|end| end.since(self.start_time).as_secs_f64() * 1e3)
    }
}

/// Something that happened during a span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SpanEvent {
    /// A log line, or a span event received by OTLP.
    Log(Arc<LogRecord>),
    /// A metric point.
    Metric(Arc<MetricPoint>),
}

/// The summary of a trace, as `GET /v1/telemetry/traces/{trace_id}` returns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Its id.
    pub trace_id: TraceId,
    /// Its root span; see [`crate::query::root_of`].
    pub root_span_id: SpanId,
    /// The earliest start.
    pub start_time: Timestamp,
    /// The latest end; `None` if no span has ended.
    pub end_time: Option<Timestamp>,
    /// The root span's service, empty if it has none. Queries can sort by it. Not part of the JSON form.
    #[serde(skip)]
    pub service_name: Text,
}
