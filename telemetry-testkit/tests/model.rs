//! The model itself passes the fixed cases, and the comparison finds what differs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use telemetry_core::query::{LogQuery, SpanQuery, TraceQuery};
use telemetry_core::{
    Batch, BuiltSink, Chunk, Options, Signal, SignalSet, Sink, SinkEntry, SinkError, TraceStore as _, Written,
};
use telemetry_testkit::store_kit::{Pair, Question, collect, random_question, random_signals};
use telemetry_testkit::{
    Delivered, Driver, Harness, MemoryStore, READY_MADE, SERVICE_NAME, Workload, block_on, signals,
};

struct Model(MemoryStore);

#[async_trait]
impl Harness for Model {
    fn new() -> Self {
        Self(MemoryStore::new(SERVICE_NAME))
    }

    fn entry(&self) -> &'static SinkEntry {
        &READY_MADE
    }

    fn options(&self) -> Options {
        Options::default()
    }

    async fn build(&self) -> Result<BuiltSink, SinkError> {
        Ok(self.0.built())
    }

    async fn delivered(&self) -> Delivered {
        let spans = collect(self.0.query_spans(SpanQuery::default())).await.unwrap();
        let logs = collect(self.0.query_logs(LogQuery { limit: None, ..LogQuery::default() })).await.unwrap();
        Delivered { spans, logs, metrics: Vec::new() }
    }
}

telemetry_testkit::store_cases!(Model);

/// Answers like a model that was not told everything.
fn forgetful() -> BuiltSink {
    struct Forgetful(Box<dyn Sink>);

    #[async_trait]
    impl Sink for Forgetful {
        async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
            let kept =
                batch.iter().filter(|signal| !matches!(signal, Signal::SpanEnded(_))).cloned().collect();
            self.0.write(&Batch::new(batch.id(), &[Arc::new(Chunk::new(kept))], SignalSet::ALL, 0)).await
        }

        async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
            Ok(())
        }
    }

    let BuiltSink { sink, store, .. } = MemoryStore::new(SERVICE_NAME).built();
    BuiltSink::new(Forgetful(sink), SignalSet::ALL).with_store(store.unwrap())
}

/// Random batches and questions, the same in every run.
fn rounds(count: usize) -> Vec<(Vec<Signal>, Question)> {
    let mut runner = TestRunner::deterministic();
    let strategy = (random_signals(), random_question());
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
fn random_questions_often_have_an_answer() {
    let has_answer = |(signals, question): &(Vec<Signal>, Question)| {
        let store = MemoryStore::new(SERVICE_NAME);
        store.store(signals);
        !block_on(question.ask(&store)).unwrap().is_empty()
    };
    let answered = rounds(500).iter().filter(|round| has_answer(round)).count();
    assert!(answered > 100, "only {answered} of 500");
}

#[test]
fn a_store_that_forgets_is_found_out() {
    let is_same = |(signals, question): (Vec<Signal>, Question), built: BuiltSink| {
        let compare = AssertUnwindSafe(async {
            let mut pair = Pair::new(built);
            pair.write(signals).await;
            pair.assert_same_answers(&question).await;
        });
        block_on(compare.catch_unwind()).is_ok()
    };
    let built = || MemoryStore::new(SERVICE_NAME).built();
    assert!(rounds(100).into_iter().all(|round| is_same(round, built())));
    assert!(!rounds(100).into_iter().all(|round| is_same(round, forgetful())));
}

#[test]
fn a_batch_that_comes_again_is_stored_once() {
    let store = MemoryStore::new("test");
    let mut driver = Driver::new(store.built());
    block_on(async {
        driver.write(Workload::new(1).signals()).await.unwrap();
        let once = collect(store.query_logs(LogQuery::default())).await.unwrap();
        driver.write_again().await.unwrap();
        assert_eq!(collect(store.query_logs(LogQuery::default())).await.unwrap(), once);
    });
}

#[test]
fn a_trace_is_gone_when_the_clock_says_so() {
    let store = MemoryStore::new("test");
    let span = signals::span(1, 1, 0, 1_000);
    let expires = span.expires();
    store.store(&[signals::ended(span)]);
    let count = || block_on(collect(store.query_traces(TraceQuery::default()))).unwrap().len();
    assert_eq!(count(), 1);
    store.set_now(expires);
    assert_eq!(count(), 0);
}
