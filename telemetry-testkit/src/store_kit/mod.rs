//! Any [`TraceStore`] against what queries mean, and against the model.
//!
//! Two kinds of tests. [`store_cases!`](crate::store_cases) makes one test per sentence about queries,
//! each with its answer written down. [`random_signals`] and [`random_question`] make what nobody
//! thinks of, and [`Pair`] compares the answers with those of a [`MemoryStore`].
//!
//! ```
//! use proptest::prelude::*;
//! use telemetry_testkit::store_kit::{Pair, random_question, random_signals};
//! # async fn build_my_sink() -> telemetry_core::BuiltSink {
//! #     telemetry_testkit::MemoryStore::new(telemetry_testkit::SERVICE_NAME).built()
//! # }
//!
//! proptest! {
//!     // Yours bears #[test].
//!     fn the_store_answers_as_the_model(
//!         batches in prop::collection::vec(random_signals(), 1..4),
//!         questions in prop::collection::vec(random_question(), 20),
//!     ) {
//!         telemetry_testkit::block_on(async {
//!             let mut pair = Pair::new(build_my_sink().await);
//!             for batch in batches {
//!                 pair.write(batch).await;
//!             }
//!             for question in &questions {
//!                 pair.assert_same_answers(question).await;
//!             }
//!         });
//!     }
//! }
//! the_store_answers_as_the_model();
//! ```

pub mod cases;
mod random;
mod stage;

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use telemetry_core::query::{LogQuery, MetricQuery, SpanQuery, TraceQuery, TreeQuery};
use telemetry_core::{BuiltSink, Pages, QueryError, Signal, SpanKey, TraceId, TraceStore};

use crate::harness::SERVICE_NAME;
use crate::{Driver, MemoryStore};

pub use random::{random_question, random_signals};
pub use stage::Stage;

/// Everything in the pages of an answer.
///
/// # Errors
///
/// The first error among the pages.
pub async fn collect<T>(pages: Pages<T>) -> Result<Vec<T>, QueryError> {
    let pages: Vec<Vec<T>> = pages.try_collect().await?;
    Ok(pages.into_iter().flatten().collect())
}

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
    /// What the store answers, as text, a line for each thing.
    ///
    /// # Errors
    ///
    /// What the store answers.
    pub async fn ask(&self, store: &dyn TraceStore) -> Result<Vec<String>, QueryError> {
        fn lines<T: std::fmt::Debug>(things: impl IntoIterator<Item = T>) -> Vec<String> {
            things.into_iter().map(|thing| format!("{thing:?}")).collect()
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
                // The series of an answer have no order.
                series.sort();
                series
            }
        })
    }
}

/// Asks both stores the same.
///
/// # Panics
///
/// When the answers differ, or the store has none.
pub async fn assert_same_answers(store: &dyn TraceStore, model: &MemoryStore, question: &Question) {
    let expected = question.ask(model).await;
    let answer = question.ask(store).await;
    match (answer, expected) {
        (Ok(answer), Ok(expected)) => assert_eq!(answer, expected, "(left: the store) {question:?}"),
        (Err(error), _) => panic!("the store has no answer to {question:?}: {error}"),
        (Ok(_), Err(error)) => panic!("the model has no answer to {question:?}: {error}"),
    }
}

/// The span that a signal is about, not merely in.
fn span_key(signal: &Signal) -> Option<SpanKey> {
    match signal {
        Signal::SpanStarted(span) | Signal::SpanEnded(span) => Some(span.key()),
        Signal::EndWaiting(end) => Some(end.key),
        _ => None,
    }
}

/// A store and the model, told the same.
#[derive(Debug)]
pub struct Pair {
    driver: Driver,
    model: MemoryStore,
}

impl Pair {
    /// A store, as its sink was built, beside an empty model. The sink must have been built for the
    /// service [`SERVICE_NAME`], as a [`Harness`](crate::Harness) does.
    pub fn new(built: BuiltSink) -> Self {
        Self { driver: Driver::new(built), model: MemoryStore::new(SERVICE_NAME) }
    }

    /// Writes a batch to both, as a pipeline would have made it: where a start meets an end that was
    /// known before, the whole span follows at once; and of a span that ended in a batch, the batch
    /// says nothing more.
    ///
    /// # Panics
    ///
    /// When the sink fails.
    pub async fn write(&mut self, signals: Vec<Signal>) {
        let mut batch = Vec::with_capacity(signals.len());
        let mut finished = HashSet::new();
        for signal in signals {
            let key = span_key(&signal);
            if key.is_some_and(|key| finished.contains(&key)) {
                continue;
            }
            self.model.store(std::slice::from_ref(&signal));
            let is_start = matches!(signal, Signal::SpanStarted(_));
            batch.push(signal);
            let Some(whole) = key.and_then(|key| self.model.ended_span(key)) else { continue };
            finished.insert(whole.key());
            if is_start {
                batch.push(Signal::SpanEnded(Arc::new(whole)));
            }
        }
        if let Err(error) = self.driver.write(batch).await {
            panic!("the sink fails: {}", error.full_text());
        }
    }

    /// Asks both the same.
    ///
    /// # Panics
    ///
    /// When the answers differ.
    pub async fn assert_same_answers(&self, question: &Question) {
        assert_same_answers(&*self.store(), &self.model, question).await;
    }

    /// The store under test.
    ///
    /// # Panics
    ///
    /// When the sink gave none.
    pub fn store(&self) -> Arc<dyn TraceStore> {
        self.driver.store().expect("a store kit needs a sink with a store")
    }

    /// Shuts the sink down.
    ///
    /// # Panics
    ///
    /// When the sink fails.
    pub async fn shutdown(self) {
        if let Err(error) = self.driver.shutdown().await {
            panic!("the sink fails to shut down: {}", error.full_text());
        }
    }
}
