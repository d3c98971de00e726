//! What a sink that can answer questions gives.

use std::pin::Pin;

use async_trait::async_trait;
use futures_core::Stream;

use crate::query::{LogQuery, MetricQuery, MetricSeries, SpanQuery, SpanTree, TraceQuery, TreeQuery};
use crate::{LogRecord, Span, SpanKey, StreamMark, Trace, TraceId};

/// An answer in pages. Owns what it needs and holds nothing open between pages, so a slow reader
/// costs the store nothing; dropping it cancels the query.
pub type Pages<T> = Pin<Box<dyn Stream<Item = Result<Vec<T>, QueryError>> + Send>>;

/// Answers queries about what was stored.
///
/// The meaning of filters, matchers, steps and trees is code in [`crate::query`], the same for every
/// store; the testkit's in-memory store is the model the others are compared with.
#[async_trait]
pub trait TraceStore: Send + Sync + 'static {
    /// Traces that have a span on which all filters hold, in the query's order.
    fn query_traces(&self, query: TraceQuery) -> Pages<Trace>;

    /// Spans of the traces that match, from the root down; whole traces, traces newest first and
    /// each trace by depth, then start.
    fn query_spans(&self, query: SpanQuery) -> Pages<Span>;

    /// Logs, newest first.
    fn query_logs(&self, query: LogQuery) -> Pages<LogRecord>;

    /// One trace; `None` if it is not there or has expired.
    async fn get_trace(&self, trace: TraceId) -> Result<Option<Trace>, QueryError>;

    /// One span with its events; `None` if it is not there or has expired.
    async fn get_span(&self, key: SpanKey) -> Result<Option<Span>, QueryError>;

    /// A span and what is below it; `None` if the span is not there or has expired.
    async fn span_tree(&self, query: TreeQuery) -> Result<Option<SpanTree>, QueryError>;

    /// One series per label set and unit; empty for an unknown metric.
    async fn query_metrics(&self, query: MetricQuery) -> Result<Vec<MetricSeries>, QueryError>;

    /// The latest marks of those of `streams` that are known, in any order.
    async fn stream_marks(&self, streams: &[u128]) -> Result<Vec<StreamMark>, QueryError>;

    /// Whether the store can commit now; `Err` says why not.
    async fn health(&self) -> Result<(), QueryError>;
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The query itself can't be answered by anyone.
    #[error("{0}")]
    Invalid(String),
    /// The store can't be reached now; later it may.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The deadline passed.
    #[error("the query took longer than allowed")]
    Timeout,
    /// What is stored can't be read.
    #[error("the store holds something unreadable")]
    Corrupt(#[source] Box<dyn std::error::Error + Send + Sync>),
}
