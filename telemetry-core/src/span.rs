//! Spans and traces: what the assembler makes of starts and ends, and what queries answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::words::words;
use crate::{Attributes, LogRecord, MetricPoint, SpanId, SpanKey, Text, Timestamp, TraceId, Ttl};

words! {
    /// How a span ended. A span that is open, or whose status was never set, has none.
    SpanStatus {
        /// It did what it should.
        Ok = "ok",
        /// It failed.
        Error = "error",
    }
}

words! {
    /// The span's role in a remote call (OpenTelemetry `SpanKind`).
    SpanKind {
        /// Within one process; the default.
        Internal = "internal",
        /// Serves a remote request.
        Server = "server",
        /// Makes a remote request.
        Client = "client",
        /// Sends a message.
        Producer = "producer",
        /// Handles a message.
        Consumer = "consumer",
    }
}

words! {
    /// How far a span has come.
    SpanState {
        /// It has started and may still end.
        Open = "open",
        /// It is whole and never changes again.
        Ended = "ended",
        /// One half is missing: it was evicted while open, its process died, or its start never came.
        /// The missing half may still complete it.
        Unfinished = "unfinished",
    }
}

/// A span: what the caller logged, under the caller's ids and times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The trace it belongs to: the remote one where a `traceparent` gave it.
    pub trace_id: TraceId,
    /// Its id within the trace.
    pub span_id: SpanId,
    /// Its parent as given, whether or not that span is known here.
    pub parent_span_id: Option<SpanId>,
    /// Its name; empty if the start never came.
    pub name: Text,
    /// Its role in a remote call.
    pub kind: SpanKind,
    /// The service it came from; `None` is the service of this process.
    pub service_name: Option<Arc<str>>,
    /// When it started; equal to the end if the start never came.
    pub start_time: Timestamp,
    /// When it ended; `None` while open, or if the end never came.
    pub end_time: Option<Timestamp>,
    /// How it ended.
    pub status: Option<SpanStatus>,
    /// Attributes of the start and the end; the end's win.
    pub attributes: Attributes,
    /// Its logs and metrics, in order of arrival. Empty in answers that don't ask for them.
    pub events: Vec<SpanEvent>,
    /// W3C `tracestate`, as given.
    pub trace_state: Option<Text>,
    /// The first span of its trace in this process (W3C: its parent is remote).
    pub local_root: bool,
    /// The trace id the events carried, where a `traceparent` moved the span to another trace.
    pub submitted_trace_id: Option<TraceId>,
    /// How far it has come.
    pub state: SpanState,
    /// Attributes that a configured limit cut.
    pub dropped_attributes_count: u32,
    /// Events that a configured limit cut.
    pub dropped_events_count: u32,
    /// When its latest event reached this program.
    pub arrived: Timestamp,
    /// How long stores keep it, from `arrived`.
    pub ttl: Ttl,
}

impl Span {
    /// An open root span with nothing else known; a start for literals: `Span { kind, ..Span::open(…) }`.
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

    /// Trace and span id.
    pub const fn key(&self) -> SpanKey {
        SpanKey::new(self.trace_id, self.span_id)
    }

    /// When stores forget it.
    pub fn expires(&self) -> Timestamp {
        self.arrived.saturating_add(self.ttl.as_duration())
    }

    /// Milliseconds from start to end; `None` while open, never negative.
    pub fn duration_ms(&self) -> Option<f64> {
        self.end_time.map(|end| end.since(self.start_time).as_secs_f64() * 1e3)
    }
}

/// What happened inside a span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SpanEvent {
    /// A log line, or a span event that came by OTLP.
    Log(Arc<LogRecord>),
    /// A measurement.
    Metric(Arc<MetricPoint>),
}

/// A trace, as `GET /v1/telemetry/traces/{trace_id}` answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Its id.
    pub trace_id: TraceId,
    /// The span without a parent that starts earliest (ties: smaller id); if there is none, the
    /// earliest span whose parent is not in the trace.
    pub root_span_id: SpanId,
    /// The earliest start.
    pub start_time: Timestamp,
    /// The latest end; `None` if no span has ended.
    pub end_time: Option<Timestamp>,
    /// The root span's service, empty if it has none. Queries order by it; the reference's answer has no such field.
    #[serde(skip)]
    pub service_name: Text,
}
