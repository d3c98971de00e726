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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

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
        let (mut sender, receiver) = oneshot::channel();
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let answer = Handle::current().block_on(async {
                tokio::select! {
                    answer = query(store) => Some(answer),
                    () = sender.closed() => None,
                }
            });
            if let Some(answer) = answer {
                // The client may have gone meanwhile.
                let _ = sender.send(answer);
            }
        });
        receiver.await.map_err(|_| QueryError::Unavailable("the query ended without an answer".into()))?
    }

    /// Runs a query that answers in pages: one page ahead of the client. Dropping the pages cancels the query.
    fn pages<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn TraceStore) -> Pages<T> + Send + 'static,
    ) -> Pages<T> {
        let (store, threads) = (Arc::clone(&self.store), Arc::clone(&self.threads));
        let pages = async move {
            let permit = match Self::thread(threads).await {
                Ok(permit) => permit,
                Err(error) => return stream::once(async { Err(error) }).boxed(),
            };
            let (sender, receiver) = mpsc::channel(1);
            tokio::task::spawn_blocking(move || {
                let _permit = permit;
                Handle::current().block_on(async {
                    let mut pages = query(&*store);
                    loop {
                        let page = tokio::select! {
                            page = pages.next() => page,
                            () = sender.closed() => return,
                        };
                        let Some(page) = page else { return };
                        if sender.send(page).await.is_err() {
                            return;
                        }
                    }
                });
            });
            stream::unfold(receiver, |mut receiver| async {
                receiver.recv().await.map(|page| (page, receiver))
            })
            .boxed()
        };
        stream::once(pages).flatten().boxed()
    }
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
