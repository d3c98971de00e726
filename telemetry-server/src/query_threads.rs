//! A store whose queries run on threads of their own.
//!
//! Filters, regular expressions and sorting can take seconds of processor time. On the threads that serve connections,
//! a few such queries would delay every other request.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use telemetry_core::query::{
    LogQuery, MetricQuery, MetricSeries, SpanQuery, SpanTree, TraceQuery, TreeQuery,
};
use telemetry_core::{LogRecord, Pages, QueryError, Span, SpanKey, StreamMark, Trace, TraceId, TraceStore};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Queries that run at the same time. Others wait.
const THREADS: usize = 8;
/// The longest time that a query waits for a thread.
const PATIENCE: Duration = Duration::from_secs(10);

/// Passes queries to another store, and runs them on threads that serve no connection. Clones share the threads.
#[derive(Clone)]
pub(crate) struct QueryThreads {
    store: Arc<dyn TraceStore>,
    threads: Arc<Semaphore>,
}

impl QueryThreads {
    pub(crate) fn new(store: Arc<dyn TraceStore>) -> Self {
        Self { store, threads: Arc::new(Semaphore::new(THREADS)) }
    }

    async fn thread(threads: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, QueryError> {
        match tokio::time::timeout(PATIENCE, threads.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(QueryError::Timeout),
        }
    }

    /// Runs one query. Dropping the returned future cancels the query.
    async fn run<T, F>(
        &self,
        query: impl FnOnce(Arc<dyn TraceStore>) -> F + Send + 'static,
    ) -> Result<T, QueryError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, QueryError>>,
    {
        let permit = Self::thread(Arc::clone(&self.threads)).await?;
        let store = Arc::clone(&self.store);
        on_thread(permit, move || query(store)).await.unwrap_or_else(|| Err(ended()))
    }

    /// Runs a query that answers in pages. A thread is used for one page at a time, so a client that does not read its
    /// answer occupies no thread. Dropping the pages cancels the query.
    fn pages<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn TraceStore) -> Pages<T> + Send + 'static,
    ) -> Pages<T> {
        let (store, threads) = (Arc::clone(&self.store), Arc::clone(&self.threads));
        let first = move || query(&*store);
        let pages = stream::unfold(Some(Rest::Query(first)), move |rest| {
            let threads = Arc::clone(&threads);
            async move {
                let rest = rest?;
                let permit = match Self::thread(threads).await {
                    Ok(permit) => permit,
                    Err(error) => return Some((Err(error), None)),
                };
                let next = on_thread(permit, move || async move {
                    let mut pages = match rest {
                        Rest::Query(query) => query(),
                        Rest::Pages(pages) => pages,
                    };
                    let page = pages.next().await?;
                    Some((page, Some(Rest::Pages(pages))))
                });
                next.await.unwrap_or_else(|| Some((Err(ended()), None)))
            }
        });
        // An answer asks once more after the end.
        pages.fuse().boxed()
    }
}

/// A query that answers in pages: before its first page, and after it.
enum Rest<Q, T> {
    Query(Q),
    Pages(Pages<T>),
}

fn ended() -> QueryError {
    QueryError::Unavailable("the query ended without an answer".into())
}

/// Runs `work` on a thread that serves no connection, and returns its outcome. Returns `None` if it panicked. Dropping the
/// returned future cancels the work.
async fn on_thread<T, F>(permit: OwnedSemaphorePermit, work: impl FnOnce() -> F + Send + 'static) -> Option<T>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let (mut sender, receiver) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let outcome = Handle::current().block_on(async {
            tokio::select! {
                outcome = work() => Some(outcome),
                () = sender.closed() => None,
            }
        });
        drop(permit);
        if let Some(outcome) = outcome {
            // The client may have gone meanwhile.
            let _ = sender.send(outcome);
        }
    });
    receiver.await.ok()
}

#[async_trait]
impl TraceStore for QueryThreads {
    fn query_traces(&self, query: TraceQuery) -> Pages<Trace> {
        self.pages(move |store| store.query_traces(query))
    }

    fn query_spans(&self, query: SpanQuery) -> Pages<Span> {
        self.pages(move |store| store.query_spans(query))
    }

    fn query_logs(&self, query: LogQuery) -> Pages<LogRecord> {
        self.pages(move |store| store.query_logs(query))
    }

    async fn get_trace(&self, trace: TraceId) -> Result<Option<Trace>, QueryError> {
        self.run(async move |store| store.get_trace(trace).await).await
    }

    async fn get_span(&self, key: SpanKey) -> Result<Option<Span>, QueryError> {
        self.run(async move |store| store.get_span(key).await).await
    }

    async fn span_tree(&self, query: TreeQuery) -> Result<Option<SpanTree>, QueryError> {
        self.run(async move |store| store.span_tree(query).await).await
    }

    async fn query_metrics(&self, query: MetricQuery) -> Result<Vec<MetricSeries>, QueryError> {
        self.run(async move |store| store.query_metrics(query).await).await
    }

    async fn stream_marks(&self, streams: &[u128]) -> Result<Vec<StreamMark>, QueryError> {
        self.store.stream_marks(streams).await
    }

    async fn health(&self) -> Result<(), QueryError> {
        self.store.health().await
    }
}

impl std::fmt::Debug for QueryThreads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryThreads")
            .field("free", &self.threads.available_permits())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use telemetry_testkit::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn pages_may_be_polled_after_their_end() {
        let store = MemoryStore::new("test").built().store.unwrap();
        let mut pages = QueryThreads::new(store).query_traces(TraceQuery::default());
        while let Some(page) = pages.next().await {
            assert_eq!(page.unwrap(), []);
        }
        assert!(pages.next().await.is_none());
    }

    #[tokio::test]
    async fn pages_that_nobody_reads_occupy_no_thread() {
        let store = MemoryStore::new("test").built().store.unwrap();
        let threads = QueryThreads::new(store);
        let mut unread: Vec<_> =
            (0..2 * THREADS).map(|_| threads.query_traces(TraceQuery::default())).collect();
        for pages in &mut unread {
            pages.next().await;
        }
        assert_eq!(threads.threads.available_permits(), THREADS);
    }
}
