//! The store as the rest of the system knows it.

use async_trait::async_trait;
use telemetry_core::query::{
    LogQuery, MetricQuery, MetricSeries, SpanQuery, SpanTree, TraceQuery, TreeQuery,
};
use telemetry_core::{LogRecord, Pages, QueryError, Span, SpanKey, StreamMark, Trace, TraceId, TraceStore};

use super::Reader;

#[async_trait]
impl TraceStore for Reader {
    fn query_traces(&self, query: TraceQuery) -> Pages<Trace> {
        self.traces(query)
    }

    fn query_spans(&self, query: SpanQuery) -> Pages<Span> {
        self.spans(query)
    }

    fn query_logs(&self, query: LogQuery) -> Pages<LogRecord> {
        self.logs(query)
    }

    async fn get_trace(&self, trace: TraceId) -> Result<Option<Trace>, QueryError> {
        self.within(self.get(trace)).await
    }

    async fn get_span(&self, key: SpanKey) -> Result<Option<Span>, QueryError> {
        self.within(self.get_one(key)).await
    }

    async fn span_tree(&self, query: TreeQuery) -> Result<Option<SpanTree>, QueryError> {
        self.within(self.tree(query)).await
    }

    async fn query_metrics(&self, query: MetricQuery) -> Result<Vec<MetricSeries>, QueryError> {
        self.within(self.metrics(query)).await
    }

    async fn stream_marks(&self, streams: &[u128]) -> Result<Vec<StreamMark>, QueryError> {
        self.within(self.marks(streams)).await
    }

    async fn health(&self) -> Result<(), QueryError> {
        match self.trouble() {
            Some(trouble) => Err(QueryError::Unavailable(trouble.into())),
            None => Ok(()),
        }
    }
}
