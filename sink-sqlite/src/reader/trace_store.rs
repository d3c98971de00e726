//! The reader as a trace store.

use async_trait::async_trait;
use telemetry_core::query::{
    LogQuery, MetricQuery, MetricSeries, SpanQuery, SpanTree, TraceQuery, TreeQuery,
};
use telemetry_core::{LogRecord, Pages, QueryError, Span, SpanKey, StreamMark, Trace, TraceId, TraceStore};

use super::session::Reader;
use crate::error::query_error;

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
        self.within_timeout(self.trace(trace)).await
    }

    async fn get_span(&self, key: SpanKey) -> Result<Option<Span>, QueryError> {
        self.within_timeout(self.span(key)).await
    }

    async fn span_tree(&self, query: TreeQuery) -> Result<Option<SpanTree>, QueryError> {
        self.within_timeout(self.tree(query)).await
    }

    async fn query_metrics(&self, query: MetricQuery) -> Result<Vec<MetricSeries>, QueryError> {
        self.within_timeout(self.metrics(query)).await
    }

    async fn stream_marks(&self, streams: &[u128]) -> Result<Vec<StreamMark>, QueryError> {
        self.within_timeout(self.marks(streams)).await
    }

    async fn health(&self) -> Result<(), QueryError> {
        match self.write_error() {
            Some(error) => Err(QueryError::Unavailable(error.into())),
            None => Ok(()),
        }
    }
}

impl Reader {
    /// Returns the marks of those of some streams that have one which has not expired.
    async fn marks(&self, streams: &[u128]) -> Result<Vec<StreamMark>, QueryError> {
        let mut session = self.session().await?;
        let mut marks = Vec::new();
        for &stream in streams {
            let sql = "SELECT state FROM stream_mark WHERE stream = ? AND expires > ?";
            let state: Option<String> = sqlx::query_scalar(sql)
                .bind(&stream.to_be_bytes()[..])
                .bind(session.now)
                .fetch_optional(&mut *session.db)
                .await
                .map_err(query_error)?;
            marks.extend(state.map(|state| StreamMark { stream, state: state.into() }));
        }
        Ok(marks)
    }
}
