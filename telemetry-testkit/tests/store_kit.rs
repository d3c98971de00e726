//! The tests for stores find mistakes: a fixed case for each kind of mistake, and random questions for the rest.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{FutureExt as _, stream};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use telemetry_core::query::{
    FilterOp, LogQuery, MetricQuery, MetricSeries, SpanQuery, SpanTree, TraceQuery, TreeQuery,
};
use telemetry_core::{
    Batch, BuiltSink, Chunk, EventContext, LogRecord, Options, Pages, QueryError, Signal, SignalSet, Sink,
    SinkEntry, SinkError, Span, SpanKey, StreamMark, Timestamp, Trace, TraceId, TraceStore, Value, Written,
};
use telemetry_testkit::store_kit::cases::{self, expiry, filters, logs, metrics, spans, traces, trees};
use telemetry_testkit::store_kit::{Question, StoreAndModel, TestStore, random_question, random_signals};
use telemetry_testkit::{
    Delivered, Driver, Harness, MemoryStore, READY_MADE, SERVICE_NAME, block_on, collect, signals,
};

/// A mistake of a store. By default there is none, and each test overrides one method.
trait Mistake: Send + Sync + 'static {
    fn traces(_query: &mut TraceQuery) {}
    fn found_traces(_query: &TraceQuery, _traces: &mut Vec<Trace>) {}
    fn spans(_query: &mut SpanQuery) {}
    fn found_spans(_spans: &mut Vec<Span>) {}
    fn logs(_query: &mut LogQuery) {}
    fn found_logs(_logs: &mut Vec<LogRecord>) {}
    fn tree(_query: &mut TreeQuery) {}
    fn metrics(_query: &mut MetricQuery) {}
    fn found_trace(_trace: &mut Trace) {}
    fn clock(_store: &MemoryStore) {}
}

/// The model with a mistake.
struct Mistaken<M>(MemoryStore, PhantomData<M>);

fn one_page<T: Send + 'static>(all: Result<Vec<T>, QueryError>) -> Pages<T> {
    Box::pin(stream::iter([all]))
}

/// Returns a whole answer of the model, which is ready at once.
fn all_of<T>(pages: Pages<T>) -> Vec<T> {
    collect(pages).now_or_never().unwrap().unwrap()
}

#[async_trait]
impl<M: Mistake> TraceStore for Mistaken<M> {
    fn query_traces(&self, mut query: TraceQuery) -> Pages<Trace> {
        M::clock(&self.0);
        M::traces(&mut query);
        let mut found = all_of(self.0.query_traces(query.clone()));
        M::found_traces(&query, &mut found);
        found.iter_mut().for_each(M::found_trace);
        one_page(Ok(found))
    }

    fn query_spans(&self, mut query: SpanQuery) -> Pages<Span> {
        M::spans(&mut query);
        let mut found = all_of(self.0.query_spans(query));
        M::found_spans(&mut found);
        one_page(Ok(found))
    }

    fn query_logs(&self, mut query: LogQuery) -> Pages<LogRecord> {
        M::logs(&mut query);
        let mut found = all_of(self.0.query_logs(query));
        M::found_logs(&mut found);
        one_page(Ok(found))
    }

    async fn get_trace(&self, trace: TraceId) -> Result<Option<Trace>, QueryError> {
        let mut found = self.0.get_trace(trace).await?;
        found.iter_mut().for_each(M::found_trace);
        Ok(found)
    }

    async fn get_span(&self, key: SpanKey) -> Result<Option<Span>, QueryError> {
        let mut found: Vec<Span> = self.0.get_span(key).await?.into_iter().collect();
        M::found_spans(&mut found);
        Ok(found.pop())
    }

    async fn span_tree(&self, mut query: TreeQuery) -> Result<Option<SpanTree>, QueryError> {
        M::tree(&mut query);
        self.0.span_tree(query).await
    }

    async fn query_metrics(&self, mut query: MetricQuery) -> Result<Vec<MetricSeries>, QueryError> {
        M::metrics(&mut query);
        self.0.query_metrics(query).await
    }

    async fn stream_marks(&self, streams: &[u128]) -> Result<Vec<StreamMark>, QueryError> {
        self.0.stream_marks(streams).await
    }

    async fn health(&self) -> Result<(), QueryError> {
        self.0.health().await
    }
}

#[async_trait]
impl<M: Mistake> Harness for Mistaken<M> {
    fn new() -> Self {
        Self(MemoryStore::new(SERVICE_NAME), PhantomData)
    }

    fn entry(&self) -> &'static SinkEntry {
        &READY_MADE
    }

    fn options(&self) -> Options {
        Options::default()
    }

    async fn build(&self) -> Result<BuiltSink, SinkError> {
        Ok(self.0.built().with_store(Arc::new(Self(self.0.clone(), PhantomData))))
    }

    async fn delivered(&self) -> Delivered {
        Delivered::default()
    }
}

/// Returns true if the case finds the mistake.
fn finds<M: Mistake>(case: impl AsyncFnOnce(&mut TestStore)) -> bool {
    catch_unwind(AssertUnwindSafe(|| cases::run::<Mistaken<M>>(case))).is_err()
}

/// The model passes every case as long as it makes no mistake.
mod without_a_mistake {
    struct NoMistake;
    impl super::Mistake for NoMistake {}

    telemetry_testkit::store_cases!(super::Mistaken<NoMistake>);
}

macro_rules! mistakes {
    ($($test:ident, found by $group:ident::$case:ident { $($mistake:item)+ })+) => {$(
        #[test]
        fn $test() {
            struct OneMistake;
            impl Mistake for OneMistake { $($mistake)+ }
            assert!(finds::<OneMistake>($group::$case));
        }
    )+};
}

fn replace_value(value: &mut Value, from: &Value, to: &Value) {
    if value == from {
        *value = to.clone();
    }
}

mistakes! {
    ties_go_to_the_smaller_id, found by traces::newest_first_and_ties_by_id {
        fn found_traces(_: &TraceQuery, traces: &mut Vec<Trace>) {
            traces.sort_by_key(|trace| (std::cmp::Reverse(trace.start_time), trace.trace_id));
        }
    }
    pages_overlap_by_one, found by traces::pages_never_overlap {
        fn traces(query: &mut TraceQuery) { query.offset = query.offset.saturating_sub(1); }
    }
    no_limit_means_a_hundred, found by traces::pages_never_overlap {
        fn traces(query: &mut TraceQuery) { query.limit = query.limit.or(Some(100)); }
    }
    a_limit_of_zero_means_all, found by traces::pages_never_overlap {
        fn traces(query: &mut TraceQuery) { query.limit = query.limit.filter(|limit| *limit > 0); }
    }
    the_second_order_is_ignored, found by traces::every_order_column_works_both_ways {
        fn traces(query: &mut TraceQuery) { query.order.truncate(1); }
    }
    seven_is_not_seven_point_zero, found by filters::numbers_compare_with_numbers {
        fn traces(query: &mut TraceQuery) {
            for filter in &mut query.filters {
                replace_value(&mut filter.value, &Value::from(7.0), &Value::from("7.0"));
            }
        }
    }
    integers_are_rounded, found by filters::numbers_compare_with_numbers {
        fn traces(query: &mut TraceQuery) {
            let even = 1_i64 << 53;
            for filter in &mut query.filters {
                replace_value(&mut filter.value, &Value::from(even), &Value::from(even + 1));
            }
        }
    }
    a_missing_key_is_unequal, found by filters::ne_needs_the_key {
        fn traces(query: &mut TraceQuery) {
            query.filters.retain(|filter| filter.op != FilterOp::Ne);
        }
    }
    only_the_first_filter_counts, found by filters::one_span_must_match_all_filters {
        fn traces(query: &mut TraceQuery) { query.filters.truncate(1); }
    }
    the_root_is_an_orphan, found by traces::the_root_is_the_earliest_without_a_parent {
        fn found_trace(trace: &mut Trace) { trace.root_span_id = signals::span_id(5); }
    }
    depth_counts_from_zero, found by trees::max_depth_counts_levels {
        fn tree(query: &mut TreeQuery) { query.max_depth = query.max_depth.map(|depth| depth.saturating_add(1)); }
    }
    a_depth_of_zero_means_all, found by trees::max_depth_counts_levels {
        fn tree(query: &mut TreeQuery) { query.max_depth = query.max_depth.filter(|depth| *depth > 0); }
    }
    a_span_id_means_the_earliest_trace, found by trees::a_span_id_in_several_traces_means_the_latest {
        fn tree(query: &mut TreeQuery) {
            query.trace_id = query.trace_id.or(Some(signals::trace_id(1)));
        }
    }
    the_trace_of_a_tree_is_ignored, found by trees::a_span_id_in_several_traces_means_the_latest {
        fn tree(query: &mut TreeQuery) { query.trace_id = None; }
    }
    spans_without_the_attributes_are_returned, found by spans::query_spans_requires_all_attributes_and_returns_only_those {
        fn spans(query: &mut SpanQuery) { query.attributes.clear(); }
    }
    spans_are_cut_at_a_thousand, found by spans::query_spans_has_no_limit {
        fn found_spans(spans: &mut Vec<Span>) { spans.truncate(1_000); }
    }
    a_double_is_an_integer, found by spans::a_span_keeps_everything {
        fn found_spans(spans: &mut Vec<Span>) {
            for span in spans {
                let attributes = std::mem::take(&mut span.attributes);
                let whole = |value: Value| if value == Value::from(7.0) { Value::from(7) } else { value };
                span.attributes = attributes.into_iter().map(|(key, value)| (key, whole(value))).collect();
            }
        }
    }
    logs_of_equal_times_are_reversed, found by logs::newest_first_and_ties_by_arrival {
        fn found_logs(logs: &mut Vec<LogRecord>) {
            logs.reverse();
            logs.sort_by_key(|log| std::cmp::Reverse(log.timestamp));
        }
    }
    a_window_of_logs_excludes_its_end, found by logs::every_filter_narrows {
        fn logs(query: &mut LogQuery) {
            query.end = query.end.map(|end| Timestamp::from_nanos(end.as_nanos() - 1));
        }
    }
    a_window_of_metrics_excludes_its_end, found by metrics::the_window_is_inclusive_at_both_ends {
        fn metrics(query: &mut MetricQuery) {
            query.end = Timestamp::from_nanos(query.end.as_nanos().saturating_sub(1));
        }
    }
    matchers_are_ignored, found by metrics::matchers_are_those_of_prometheus {
        fn metrics(query: &mut MetricQuery) { query.matchers.clear(); }
    }
    expired_traces_are_returned, found by expiry::an_expired_trace_is_gone_as_a_whole {
        fn clock(store: &MemoryStore) { store.set_now(Timestamp::from_nanos(0)); }
    }
}

#[test]
fn a_trace_is_visible_until_the_nanosecond_at_which_it_expires() {
    let store = MemoryStore::new(SERVICE_NAME);
    let span = signals::span(1, 1, 0, 1_000);
    let expires = span.expires();
    store.store(&[signals::ended(span)]);
    for (now, expected) in [(expires.as_nanos() - 1, 1), (expires.as_nanos(), 0)] {
        store.set_now(Timestamp::from_nanos(now));
        let found = block_on(collect(store.query_traces(TraceQuery::default()))).unwrap();
        assert_eq!(found.len(), expected);
    }
}

#[test]
fn a_batch_that_comes_again_is_stored_once() {
    let store = MemoryStore::new(SERVICE_NAME);
    let mut driver = Driver::new(store.built());
    block_on(async {
        driver.write(vec![signals::log(EventContext::None, 0, "once")]).await.unwrap();
        driver.write_again().await.unwrap();
        assert_eq!(collect(store.query_logs(LogQuery::default())).await.unwrap().len(), 1);
    });
}

/// Returns random batches and questions, the same in every run.
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

/// A sink that stores no ended spans.
struct WithoutEndedSpans(Box<dyn Sink>);

#[async_trait]
impl Sink for WithoutEndedSpans {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let kept = batch.iter().filter(|signal| !matches!(signal, Signal::SpanEnded(_))).cloned().collect();
        self.0.write(&Batch::new(batch.id(), &[Arc::new(Chunk::new(kept))], SignalSet::ALL, 0)).await
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

#[test]
fn random_questions_find_a_store_that_loses_spans() {
    let good = || MemoryStore::new(SERVICE_NAME).built();
    let bad = || {
        let BuiltSink { sink, store, .. } = good();
        BuiltSink::new(WithoutEndedSpans(sink), SignalSet::ALL).with_store(store.unwrap())
    };
    let passes = |(signals, question): (Vec<Signal>, Question), built: BuiltSink| {
        let compare = AssertUnwindSafe(async {
            let mut both = StoreAndModel::new(built);
            both.write(signals).await;
            both.assert_same_answers(&question).await;
        });
        block_on(compare.catch_unwind()).is_ok()
    };
    assert!(rounds(100).into_iter().all(|round| passes(round, good())));
    assert!(!rounds(100).into_iter().all(|round| passes(round, bad())));
}
