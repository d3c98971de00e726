//! The queries for traces, spans and logs.

use crate::named_enum::named_enum;
use crate::{LogBody, LogRecord, Severity, SpanId, Timestamp, TraceId};

use super::filter::Filter;

/// A query for traces. The default is the newest 100.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceQuery {
    /// A trace matches if all filters match one of its spans.
    pub filters: Vec<Filter>,
    /// The sort keys, most significant first. Ties: newest start first, then larger trace id first.
    pub order: Vec<Order>,
    /// The largest number of results; `None` is no limit.
    pub limit: Option<u64>,
    /// The number of results to skip first.
    pub offset: u64,
}

impl Default for TraceQuery {
    fn default() -> Self {
        Self { filters: Vec::new(), order: Vec::new(), limit: Some(100), offset: 0 }
    }
}

/// One sort key. Nulls come last, ascending or descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The column.
    pub column: OrderColumn,
    /// True for the largest first.
    pub descending: bool,
}

named_enum! {
    /// The columns by which traces can be sorted.
    OrderColumn {
        /// The earliest start.
        StartTime = "start_time",
        /// The latest end.
        EndTime = "end_time",
        /// The trace id.
        TraceId = "trace_id",
        /// The id of the root span.
        RootSpanId = "root_span_id",
        /// The service of the root span.
        ServiceName = "service_name",
        /// The time from the earliest start to the latest end.
        DurationMs = "duration_ms",
    }
}

/// A query for spans.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanQuery {
    /// A trace matches if all filters match one of its spans. The answer has the spans of all matching traces.
    pub filters: Vec<Filter>,
    /// Leaves out spans that lack one of these attributes or have null for it, and returns only these
    /// attributes. Empty: every span with every attribute.
    pub attributes: Vec<String>,
    /// The number of levels, the root being the first; `None` is every span of the trace.
    pub max_depth: Option<u32>,
}

/// A query for a span and its descendants.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeQuery {
    /// The span at the top.
    pub span_id: SpanId,
    /// Its trace; `None` is the trace in which a span with this id started last.
    pub trace_id: Option<TraceId>,
    /// The number of levels, the top being the first; `None` is all, 0 counts as 1.
    pub max_depth: Option<u32>,
}

/// A query for logs. The default is the newest 100.
#[derive(Clone, Debug, PartialEq)]
pub struct LogQuery {
    /// Only logs of this trace.
    pub trace_id: Option<TraceId>,
    /// Only logs of this span.
    pub span_id: Option<SpanId>,
    /// Only logs of at least this severity. Leaves out OTLP span events, which have no severity.
    pub min_severity: Option<Severity>,
    /// Only logs whose message (or span event's name) contains this text; case matters.
    pub contains: Option<String>,
    /// Only logs of this time or later.
    pub start: Option<Timestamp>,
    /// Only logs of this time or earlier.
    pub end: Option<Timestamp>,
    /// The largest number of results; `None` is no limit.
    pub limit: Option<u64>,
    /// The number of results to skip first.
    pub offset: u64,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self {
            trace_id: None,
            span_id: None,
            min_severity: None,
            contains: None,
            start: None,
            end: None,
            limit: Some(100),
            offset: 0,
        }
    }
}

impl LogQuery {
    /// Returns true if the log matches, apart from limit and offset.
    pub fn matches(&self, log: &LogRecord) -> bool {
        let (severity, text) = match &log.body {
            LogBody::Message { severity, message } => (Some(*severity), message),
            LogBody::SpanEvent { name } => (None, name),
        };
        self.trace_id.is_none_or(|id| log.context.trace_id() == Some(id))
            && self.span_id.is_none_or(|id| log.context.span_id() == Some(id))
            && self.min_severity.is_none_or(|least| severity.is_some_and(|severity| severity >= least))
            && self.contains.as_ref().is_none_or(|part| text.contains(part.as_str()))
            && self.start.is_none_or(|start| log.timestamp >= start)
            && self.end.is_none_or(|end| log.timestamp <= end)
    }
}
