//! Traces: order, pages, root.

use telemetry_core::query::TraceQuery;
use telemetry_core::{EventContext, Span};

use crate::signals::{child, ended, log, open_span, span, started, trace_id};
use crate::store_kit::test_store::TestStore;

fn page(offset: u64, limit: Option<u64>) -> TraceQuery {
    TraceQuery { offset, limit, ..TraceQuery::default() }
}

/// By default, the newest start comes first. Of equal starts, the larger id comes first.
pub async fn newest_first_and_ties_by_id(store: &mut TestStore) {
    store.write([(3, 0), (1, 5), (2, 5), (4, 5)].map(|(trace, start)| ended(span(trace, 1, start, 9)))).await;
    assert_eq!(store.traces(TraceQuery::default()).await, [4, 2, 1, 3]);
}

/// Pages of any size together have each trace once. The default size is 100.
pub async fn pages_never_overlap(store: &mut TestStore) {
    // Equal starts, so that only the ids decide the order.
    store.write((1..=250).map(|trace| ended(span(trace, 1, i64::from(trace > 120), 9)))).await;
    let all = store.traces(page(0, None)).await;
    assert_eq!(all, (1..=250).rev().collect::<Vec<u128>>());
    for size in [7, 100, 249] {
        let mut found = Vec::new();
        for offset in (0..250).step_by(size) {
            found.extend(store.traces(page(offset, Some(size as u64))).await);
        }
        assert_eq!(found, all, "pages of {size}");
    }
    assert_eq!(store.traces(TraceQuery::default()).await, all[..100]);
    assert_eq!(store.traces(page(249, Some(u64::MAX))).await, [1]);
    assert_eq!(store.traces(page(250, None)).await, []);
    assert_eq!(store.traces(page(u64::MAX, Some(1))).await, []);
    assert_eq!(store.traces(page(0, Some(0))).await, []);
}

/// Traces can be ordered by every column, ascending and descending, and by several columns.
pub async fn every_order_column_works_both_ways(store: &mut TestStore) {
    let of = |service: &str, span: Span| ended(Span { service_name: Some(service.into()), ..span });
    store
        .write([
            of("b", span(1, 30, 20, 50)),
            of("c", span(2, 10, 10, 60)),
            of("a", span(3, 20, 30, 40)),
            of("a", span(4, 40, 0, 70)),
        ])
        .await;
    let ascending = [
        ("start_time", [4, 2, 1, 3]),
        ("end_time", [3, 1, 2, 4]),
        ("trace_id", [1, 2, 3, 4]),
        ("root_span_id", [2, 3, 1, 4]),
        ("duration_ms", [3, 1, 2, 4]),
    ];
    for (column, expected) in ascending {
        assert_eq!(store.traces_by(column).await, expected, "{column}");
        let reversed: Vec<u128> = expected.into_iter().rev().collect();
        assert_eq!(store.traces_by(&format!("-{column}")).await, reversed, "-{column}");
    }
    assert_eq!(store.traces_by("service_name").await, [3, 4, 1, 2], "ties newest first");
    assert_eq!(store.traces_by("-service_name").await, [2, 1, 3, 4], "ties newest first");
    assert_eq!(store.traces_by("service_name,start_time").await, [4, 3, 1, 2]);
    assert_eq!(store.traces_by("service_name,-duration_ms").await, [4, 3, 1, 2]);
}

/// A trace without an end comes last in both directions.
pub async fn nulls_come_last_either_way(store: &mut TestStore) {
    store.write([started(open_span(1, 1, 5)), ended(span(2, 1, 0, 10)), ended(span(3, 1, 1, 12))]).await;
    assert_eq!(store.traces_by("end_time").await, [2, 3, 1]);
    assert_eq!(store.traces_by("-end_time").await, [3, 2, 1]);
    assert_eq!(store.traces_by("duration_ms").await, [2, 3, 1]);
    assert_eq!(store.traces_by("-duration_ms").await, [3, 2, 1]);
}

/// An unknown trace or span is `None`, not an error.
pub async fn a_missing_trace_is_none(store: &mut TestStore) {
    assert_eq!(store.traces(TraceQuery::default()).await, []);
    store.write([ended(span(1, 1, 0, 1))]).await;
    assert_eq!(store.trace(2).await, None);
    assert_eq!(store.span(2, 1).await, None);
    assert_eq!(store.span(1, 2).await, None);
}

/// The root is the earliest span without a parent. Of equal starts, the smaller id wins.
pub async fn the_root_is_the_earliest_without_a_parent(store: &mut TestStore) {
    store
        .write([
            ended(child(1, 5, 9, 0, 90)),
            ended(span(1, 8, 20, 80)),
            ended(span(1, 7, 20, 30)),
            ended(span(1, 6, 40, 50)),
        ])
        .await;
    assert_eq!(store.trace(1).await.as_deref(), Some("7 0..90"));
    // An earlier root may arrive later. Ids above 2^63 are large, not negative.
    store.write([ended(span(1, u64::MAX, 10, 20)), ended(span(1, 1 << 63, 10, 20))]).await;
    assert_eq!(store.trace(1).await.as_deref(), Some("9223372036854775808 0..90"));
    store.write([ended(span(1, 3, 10, 20))]).await;
    assert_eq!(store.trace(1).await.as_deref(), Some("3 0..90"));
}

/// If every span has a parent, the root is the earliest span whose parent is unknown.
pub async fn without_a_root_the_earliest_orphan_is_the_root(store: &mut TestStore) {
    store
        .write([ended(child(1, 2, 3, 0, 50)), ended(child(1, 3, 77, 10, 40)), ended(child(1, 4, 78, 20, 30))])
        .await;
    assert_eq!(store.trace(1).await.as_deref(), Some("3 0..50"));
    // If the parents form a cycle, the earliest span is the root.
    store.write([ended(child(2, 1, 2, 5, 9)), ended(child(2, 2, 1, 0, 9))]).await;
    assert_eq!(store.trace(2).await.as_deref(), Some("2 0..9"));
}

/// A trace starts with its earliest span and ends with its latest, in whatever order they arrive.
pub async fn a_trace_spans_its_earliest_start_and_latest_end(store: &mut TestStore) {
    store.write([started(open_span(1, 1, 10))]).await;
    assert_eq!(store.trace(1).await.as_deref(), Some("1 10..-"));
    store.write([ended(child(1, 2, 1, 20, 60))]).await;
    assert_eq!(store.trace(1).await.as_deref(), Some("1 10..60"));
    store.write([ended(span(1, 1, 10, 40)), ended(child(1, 3, 1, 5, 30))]).await;
    assert_eq!(store.trace(1).await.as_deref(), Some("1 5..60"));
}

/// Logs alone don't make a trace.
pub async fn a_trace_of_logs_alone_is_no_trace(store: &mut TestStore) {
    store.write([log(EventContext::Trace(trace_id(1)), 0, "hello")]).await;
    assert_eq!(store.trace(1).await, None);
    assert_eq!(store.traces(TraceQuery::default()).await, []);
    store.write([ended(span(1, 1, 0, 1))]).await;
    assert_eq!(store.trace(1).await.as_deref(), Some("1 0..1"));
}
