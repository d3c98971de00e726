//! Questions to a store, with answers that can be compared as text.

use telemetry_core::query::{LogQuery, MetricQuery, SpanQuery, TraceQuery, TreeQuery};
use telemetry_core::{QueryError, SpanKey, TraceId, TraceStore};

use crate::collect;

/// A question to a store.
#[derive(Clone, Debug)]
pub enum Question {
    /// [`TraceStore::query_traces`].
    Traces(TraceQuery),
    /// [`TraceStore::query_spans`].
    Spans(SpanQuery),
    /// [`TraceStore::query_logs`].
    Logs(LogQuery),
    /// [`TraceStore::get_trace`].
    Trace(TraceId),
    /// [`TraceStore::get_span`].
    Span(SpanKey),
    /// [`TraceStore::span_tree`].
    Tree(TreeQuery),
    /// [`TraceStore::query_metrics`].
    Metrics(MetricQuery),
}

impl Question {
    /// Asks a store. Returns its answer as text, one line per item.
    ///
    /// # Errors
    ///
    /// The store's error.
    pub async fn ask(&self, store: &dyn TraceStore) -> Result<Vec<String>, QueryError> {
        fn lines<T: std::fmt::Debug>(items: impl IntoIterator<Item = T>) -> Vec<String> {
            items.into_iter().map(|item| format!("{item:?}")).collect()
        }
        Ok(match self.clone() {
            Self::Traces(query) => lines(collect(store.query_traces(query)).await?),
            Self::Spans(query) => lines(collect(store.query_spans(query)).await?),
            Self::Logs(query) => lines(collect(store.query_logs(query)).await?),
            Self::Trace(id) => lines(store.get_trace(id).await?),
            Self::Span(key) => lines(store.get_span(key).await?),
            Self::Tree(query) => {
                lines(store.span_tree(query).await?.map(|tree| tree.nodes).unwrap_or_default())
            }
            Self::Metrics(query) => {
                let mut series = lines(store.query_metrics(query).await?);
                // The series of an answer come in no particular order.
                series.sort();
                series
            }
        })
    }
}
