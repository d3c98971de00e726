//! Queries, and what they mean.
//!
//! Values here are checked already: an order column is an enum, a regular expression is compiled.
//! Every store uses this code, so that every store gives the same answer.

mod filter;
mod matcher;
mod steps;
mod tree;

pub use filter::{Filter, FilterOp, builtin_value, matches_all};
pub use matcher::{LabelMatcher, MatcherError, MatcherOp};
pub use steps::{
    Aggregation, Fold, Granularity, GranularityError, MetricPointValue, MetricQuery, MetricSeries, QueryType,
    Sample, aggregate, default_aggregation,
};
pub use tree::{
    SpanTree, SpanTreeNode, TreeQuery, newest_first, root_of, spans_from_root, summarize, tree_of,
    with_attributes,
};

use crate::{Severity, SpanId, Timestamp, TraceId};

/// Which traces, in which order. The default is the newest 100.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceQuery {
    /// All must hold on one span of the trace.
    pub filters: Vec<Filter>,
    /// First key first; ties are settled by the newest start, then the larger trace id first.
    pub order: Vec<Order>,
    /// How many at most; `None` is all.
    pub limit: Option<u64>,
    /// How many to leave out first.
    pub offset: u64,
}

impl Default for TraceQuery {
    fn default() -> Self {
        Self { filters: Vec::new(), order: Vec::new(), limit: Some(100), offset: 0 }
    }
}

/// One key of an order. Nulls come last, ascending or descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// What to compare.
    pub column: OrderColumn,
    /// Largest first.
    pub descending: bool,
}

crate::words::words! {
    /// What traces can be ordered by.
    OrderColumn {
        /// The earliest start.
        StartTime = "start_time",
        /// The latest end.
        EndTime = "end_time",
        /// The trace id.
        TraceId = "trace_id",
        /// The root's id.
        RootSpanId = "root_span_id",
        /// The root's service.
        ServiceName = "service_name",
        /// From the earliest start to the latest end.
        DurationMs = "duration_ms",
    }
}

/// Which spans.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanQuery {
    /// All must hold on one span of a trace for the trace to match.
    pub filters: Vec<Filter>,
    /// Only spans that carry all of these, not null; and only these are returned. Empty: every span, every attribute.
    pub attributes: Vec<String>,
    /// Levels below and with the root, from 1; `None` is every span of the trace.
    pub max_depth: Option<u32>,
}

/// Which logs. The default is the newest 100 of all.
#[derive(Clone, Debug, PartialEq)]
pub struct LogQuery {
    /// Of this trace.
    pub trace_id: Option<TraceId>,
    /// Of this span.
    pub span_id: Option<SpanId>,
    /// At least this severe; leaves out OTLP span events, which have no severity.
    pub min_severity: Option<Severity>,
    /// Whose message (or span event's name) contains this, letter by letter.
    pub contains: Option<String>,
    /// Not before.
    pub start: Option<Timestamp>,
    /// Not after.
    pub end: Option<Timestamp>,
    /// How many at most; `None` is all.
    pub limit: Option<u64>,
    /// How many to leave out first.
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
    /// Whether a log is asked for, limit and offset apart.
    pub fn matches(&self, log: &crate::LogRecord) -> bool {
        let (severity, text) = match &log.body {
            crate::LogBody::Message { severity, message } => (Some(*severity), message),
            crate::LogBody::SpanEvent { name } => (None, name),
        };
        self.trace_id.is_none_or(|id| log.context.trace_id() == Some(id))
            && self.span_id.is_none_or(|id| log.context.span_id() == Some(id))
            && self.min_severity.is_none_or(|least| severity.is_some_and(|severity| severity >= least))
            && self.contains.as_ref().is_none_or(|part| text.contains(part.as_str()))
            && self.start.is_none_or(|start| log.timestamp >= start)
            && self.end.is_none_or(|end| log.timestamp <= end)
    }
}
