//! The contract of a store that answers queries.

use std::pin::Pin;

use async_trait::async_trait;
use futures_core::Stream;

use crate::query::{LogQuery, MetricQuery, MetricSeries, SpanQuery, SpanTree, TraceQuery, TreeQuery};
use crate::{LogRecord, Span, SpanKey, StreamMark, Trace, TraceId};

/// An answer in pages.
///
/// Between pages it keeps no transaction open, so that a slow reader does not block the store. Dropping it
/// cancels the query.
pub type Pages<T> = Pin<Box<dyn Stream<Item = Result<Vec<T>, QueryError>> + Send>>;

/// Answers queries about stored signals.
///
/// The functions in [`crate::query`] define what filters, matchers, steps and trees mean, for all stores.
/// The testkit compares every store with its in-memory model store.
#[async_trait]
pub trait TraceStore: Send + Sync + 'static {
    /// Returns the traces that have a span which matches all filters, in the query's order.
    fn query_traces(&self, query: TraceQuery) -> Pages<Trace>;

    /// Returns the spans of the traces that match: newest trace first, and each trace from its root down,
    /// by depth, then start.
    fn query_spans(&self, query: SpanQuery) -> Pages<Span>;

    /// Returns the logs that match, newest first.
    fn query_logs(&self, query: LogQuery) -> Pages<LogRecord>;

    /// Returns one trace; `None` if it is unknown or has expired.
    async fn get_trace(&self, trace: TraceId) -> Result<Option<Trace>, QueryError>;

    /// Returns one span with its events; `None` if it is unknown or has expired.
    async fn get_span(&self, key: SpanKey) -> Result<Option<Span>, QueryError>;

    /// Returns a span and its descendants; `None` if the span is unknown or has expired.
    async fn span_tree(&self, query: TreeQuery) -> Result<Option<SpanTree>, QueryError>;

    /// Returns one series per label set and unit; an unknown metric has none.
    async fn query_metrics(&self, query: MetricQuery) -> Result<Vec<MetricSeries>, QueryError>;

    /// Returns the latest marks of the known ones among `streams`, in any order.
    async fn stream_marks(&self, streams: &[u128]) -> Result<Vec<StreamMark>, QueryError>;

    /// Returns `Ok` if the store can commit now.
    async fn health(&self) -> Result<(), QueryError>;
}

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// No store can answer the query.
    #[error("{0}")]
    Invalid(String),
    /// The store is temporarily unavailable.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The query did not finish before its deadline.
    #[error("the query took longer than allowed")]
    Timeout,
    /// Stored data cannot be read.
    #[error("stored data is corrupt")]
    Corrupt(#[source] Box<dyn std::error::Error + Send + Sync>),
}
