//! The kit for stores itself: each subtle mistake of a store is found by the case that is about it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream;
use telemetry_core::query::{
    FilterOp, LogQuery, MetricQuery, MetricSeries, SpanQuery, SpanTree, TraceQuery, TreeQuery,
};
use telemetry_core::{
    BuiltSink, LogRecord, Options, Pages, QueryError, SinkEntry, SinkError, Span, SpanKey, StreamMark,
    Timestamp, Trace, TraceId, TraceStore, Value,
};
use telemetry_testkit::store_kit::cases::{self, expiry, filters, logs, metrics, spans, traces, trees};
use telemetry_testkit::store_kit::{Stage, collect};
use telemetry_testkit::{Delivered, Harness, MemoryStore, READY_MADE, SERVICE_NAME, block_on};

/// A mistake: by default none, so that each makes one.
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

/// The model, with a mistake.
struct Mistaken<M>(MemoryStore, PhantomData<M>);

fn one_page<T: Send + 'static>(all: Result<Vec<T>, QueryError>) -> Pages<T> {
    Box::pin(stream::iter([all]))
}

/// All of an answer that is ready at once, as the model's are.
fn all_of<T>(pages: Pages<T>) -> Vec<T> {
    futures_util::FutureExt::now_or_never(collect(pages)).unwrap().unwrap()
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

/// Whether the case finds the mistake.
fn finds<M: Mistake>(case: impl AsyncFnOnce(&mut Stage)) -> bool {
    catch_unwind(AssertUnwindSafe(|| cases::run::<Mistaken<M>>(case))).is_err()
}

macro_rules! mistakes {
    ($($test:ident, found by $group:ident::$case:ident { $($mistake:item)+ })+) => {$(
        #[test]
        fn $test() {
            struct It;
            impl Mistake for It { $($mistake)+ }
            struct Nothing;
            impl Mistake for Nothing {}
            assert!(!finds::<Nothing>($group::$case), "the model itself");
            assert!(finds::<It>($group::$case));
        }
    )+};
}

fn next_value(value: &mut Value, from: &Value, to: &Value) {
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
    all_is_no_more_than_a_hundred, found by traces::pages_never_overlap {
        fn traces(query: &mut TraceQuery) { query.limit = query.limit.or(Some(100)); }
    }
    no_limit_at_zero, found by traces::pages_never_overlap {
        fn traces(query: &mut TraceQuery) { query.limit = query.limit.filter(|limit| *limit > 0); }
    }
    the_second_order_is_ignored, found by traces::every_order_column_works_both_ways {
        fn traces(query: &mut TraceQuery) { query.order.truncate(1); }
    }
    seven_is_not_seven_point_nothing, found by filters::numbers_compare_with_numbers {
        fn traces(query: &mut TraceQuery) {
            for filter in &mut query.filters {
                next_value(&mut filter.value, &Value::from(7.0), &Value::from("7.0"));
            }
        }
    }
    integers_are_rounded, found by filters::numbers_compare_with_numbers {
        fn traces(query: &mut TraceQuery) {
            let even = 1_i64 << 53;
            for filter in &mut query.filters {
                next_value(&mut filter.value, &Value::from(even), &Value::from(even + 1));
            }
        }
    }
    unequal_where_there_is_no_key, found by filters::ne_needs_the_key {
        fn traces(query: &mut TraceQuery) {
            query.filters.retain(|filter| filter.op != FilterOp::Ne);
        }
    }
    only_the_first_filter_holds, found by filters::all_filters_hold_on_one_span {
        fn traces(query: &mut TraceQuery) { query.filters.truncate(1); }
    }
    the_root_is_whatever_ends_last, found by traces::the_root_is_the_earliest_without_a_parent {
        fn found_trace(trace: &mut Trace) { trace.root_span_id = telemetry_testkit::signals::span_id(5); }
    }
    depth_counts_from_zero, found by trees::max_depth_counts_levels {
        fn tree(query: &mut TreeQuery) { query.max_depth = query.max_depth.map(|depth| depth.saturating_add(1)); }
    }
    no_depth_at_zero, found by trees::max_depth_counts_levels {
        fn tree(query: &mut TreeQuery) { query.max_depth = query.max_depth.filter(|depth| *depth > 0); }
    }
    a_span_id_means_the_first_trace, found by trees::a_span_id_in_several_traces_means_the_latest {
        fn tree(query: &mut TreeQuery) {
            query.trace_id = query.trace_id.or(Some(telemetry_testkit::signals::trace_id(1)));
        }
    }
    the_trace_of_a_tree_is_ignored, found by trees::a_span_id_in_several_traces_means_the_latest {
        fn tree(query: &mut TreeQuery) { query.trace_id = None; }
    }
    spans_without_the_attributes_are_shown, found by spans::query_spans_wants_all_attributes_and_returns_only_those {
        fn spans(query: &mut SpanQuery) { query.attributes.clear(); }
    }
    spans_are_cut_at_a_thousand, found by spans::query_spans_has_no_cap {
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
    logs_of_one_time_are_turned_round, found by logs::newest_first_and_ties_by_arrival {
        fn found_logs(logs: &mut Vec<LogRecord>) {
            logs.reverse();
            logs.sort_by_key(|log| std::cmp::Reverse(log.timestamp));
        }
    }
    a_window_of_logs_is_open_at_its_end, found by logs::every_filter_narrows {
        fn logs(query: &mut LogQuery) {
            query.end = query.end.map(|end| Timestamp::from_nanos(end.as_nanos() - 1));
        }
    }
    a_window_of_metrics_is_open_at_its_end, found by metrics::the_window_is_inclusive_at_both_ends {
        fn metrics(query: &mut MetricQuery) {
            query.end = Timestamp::from_nanos(query.end.as_nanos().saturating_sub(1));
        }
    }
    matchers_are_ignored, found by metrics::matchers_are_those_of_prometheus {
        fn metrics(query: &mut MetricQuery) { query.matchers.clear(); }
    }
    what_has_expired_is_shown, found by expiry::an_expired_trace_is_gone_whole {
        fn clock(store: &MemoryStore) { store.set_now(Timestamp::from_nanos(0)); }
    }
}

#[test]
fn what_expires_now_is_gone_and_a_nanosecond_earlier_it_is_there() {
    let store = MemoryStore::new(SERVICE_NAME);
    let span = telemetry_testkit::signals::span(1, 1, 0, 1_000);
    let expires = span.expires();
    store.store(&[telemetry_testkit::signals::ended(span)]);
    for (now, expected) in [(expires.as_nanos() - 1, 1), (expires.as_nanos(), 0)] {
        store.set_now(Timestamp::from_nanos(now));
        let found = block_on(collect(store.query_traces(TraceQuery::default()))).unwrap();
        assert_eq!(found.len(), expected);
    }
}
