//! Traces: their order, their pages, their root.

use telemetry_core::query::TraceQuery;
use telemetry_core::{EventContext, Span};

use crate::signals::{child, ended, log, open_span, span, started, trace_id};
use crate::store_kit::Stage;

fn page(offset: u64, limit: Option<u64>) -> TraceQuery {
    TraceQuery { offset, limit, ..TraceQuery::default() }
}

/// Without an order the newest start comes first, and among equal starts the larger id.
pub async fn newest_first_and_ties_by_id(stage: &mut Stage) {
    stage.write([(3, 0), (1, 5), (2, 5), (4, 5)].map(|(trace, start)| ended(span(trace, 1, start, 9)))).await;
    assert_eq!(stage.traces(TraceQuery::default()).await, [4, 2, 1, 3]);
}

/// Pages of any size make up the whole, each trace once; the default is 100.
pub async fn pages_never_overlap(stage: &mut Stage) {
    // Equal starts, so that only the tie rule keeps the order.
    stage.write((1..=250).map(|trace| ended(span(trace, 1, i64::from(trace > 120), 9)))).await;
    let all = stage.traces(page(0, None)).await;
    assert_eq!(all, (1..=250).rev().collect::<Vec<u128>>());
    for size in [7, 100, 249] {
        let mut found = Vec::new();
        for offset in (0..250).step_by(size) {
            found.extend(stage.traces(page(offset, Some(size as u64))).await);
        }
        assert_eq!(found, all, "pages of {size}");
    }
    assert_eq!(stage.traces(TraceQuery::default()).await, all[..100]);
    assert_eq!(stage.traces(page(249, Some(u64::MAX))).await, [1]);
    assert_eq!(stage.traces(page(250, None)).await, []);
    assert_eq!(stage.traces(page(u64::MAX, Some(1))).await, []);
    assert_eq!(stage.traces(page(0, Some(0))).await, []);
}

/// Every column orders, ascending and descending, and several in turn.
pub async fn every_order_column_works_both_ways(stage: &mut Stage) {
    let of = |service: &str, span: Span| ended(Span { service_name: Some(service.into()), ..span });
    stage
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
        assert_eq!(stage.traces_by(column).await, expected, "{column}");
        let reversed: Vec<u128> = expected.into_iter().rev().collect();
        assert_eq!(stage.traces_by(&format!("-{column}")).await, reversed, "-{column}");
    }
    assert_eq!(stage.traces_by("service_name").await, [3, 4, 1, 2], "ties newest first");
    assert_eq!(stage.traces_by("-service_name").await, [2, 1, 3, 4], "ties newest first");
    assert_eq!(stage.traces_by("service_name,start_time").await, [4, 3, 1, 2]);
    assert_eq!(stage.traces_by("service_name,-duration_ms").await, [4, 3, 1, 2]);
}

/// A trace without an end is last in both directions.
pub async fn nulls_come_last_either_way(stage: &mut Stage) {
    stage.write([started(open_span(1, 1, 5)), ended(span(2, 1, 0, 10)), ended(span(3, 1, 1, 12))]).await;
    assert_eq!(stage.traces_by("end_time").await, [2, 3, 1]);
    assert_eq!(stage.traces_by("-end_time").await, [3, 2, 1]);
    assert_eq!(stage.traces_by("duration_ms").await, [2, 3, 1]);
    assert_eq!(stage.traces_by("-duration_ms").await, [3, 2, 1]);
}

/// What is not there is `None`, not an error.
pub async fn a_missing_trace_is_none(stage: &mut Stage) {
    assert_eq!(stage.traces(TraceQuery::default()).await, []);
    stage.write([ended(span(1, 1, 0, 1))]).await;
    assert_eq!(stage.trace(2).await, None);
    assert_eq!(stage.span(2, 1).await, None);
    assert_eq!(stage.span(1, 2).await, None);
}

/// The root has no parent and starts earliest; ties go to the smaller id. No mark is needed.
pub async fn the_root_is_the_earliest_without_a_parent(stage: &mut Stage) {
    stage
        .write([
            ended(child(1, 5, 9, 0, 90)),
            ended(span(1, 8, 20, 80)),
            ended(span(1, 7, 20, 30)),
            ended(span(1, 6, 40, 50)),
        ])
        .await;
    assert_eq!(stage.trace(1).await.as_deref(), Some("7 0..90"));
    // An earlier root may come later, and ids above 2^63 are large, not negative.
    stage.write([ended(span(1, u64::MAX, 10, 20)), ended(span(1, 1 << 63, 10, 20))]).await;
    assert_eq!(stage.trace(1).await.as_deref(), Some("9223372036854775808 0..90"));
    stage.write([ended(span(1, 3, 10, 20))]).await;
    assert_eq!(stage.trace(1).await.as_deref(), Some("3 0..90"));
}

/// Where every span has a parent, the earliest whose parent is elsewhere is the root.
pub async fn without_a_root_the_earliest_orphan_is_it(stage: &mut Stage) {
    stage
        .write([ended(child(1, 2, 3, 0, 50)), ended(child(1, 3, 77, 10, 40)), ended(child(1, 4, 78, 20, 30))])
        .await;
    assert_eq!(stage.trace(1).await.as_deref(), Some("3 0..50"));
    // All of them in a circle: the earliest.
    stage.write([ended(child(2, 1, 2, 5, 9)), ended(child(2, 2, 1, 0, 9))]).await;
    assert_eq!(stage.trace(2).await.as_deref(), Some("2 0..9"));
}

/// A trace starts with its earliest span and ends with its latest, whichever order they come in.
pub async fn a_trace_spans_its_earliest_start_and_latest_end(stage: &mut Stage) {
    stage.write([started(open_span(1, 1, 10))]).await;
    assert_eq!(stage.trace(1).await.as_deref(), Some("1 10..-"));
    stage.write([ended(child(1, 2, 1, 20, 60))]).await;
    assert_eq!(stage.trace(1).await.as_deref(), Some("1 10..60"));
    stage.write([ended(span(1, 1, 10, 40)), ended(child(1, 3, 1, 5, 30))]).await;
    assert_eq!(stage.trace(1).await.as_deref(), Some("1 5..60"));
}

/// Logs that name a trace make none.
pub async fn a_trace_of_logs_alone_is_no_trace(stage: &mut Stage) {
    stage.write([log(EventContext::Trace(trace_id(1)), 0, "hello")]).await;
    assert_eq!(stage.trace(1).await, None);
    assert_eq!(stage.traces(TraceQuery::default()).await, []);
    stage.write([ended(span(1, 1, 0, 1))]).await;
    assert_eq!(stage.trace(1).await.as_deref(), Some("1 0..1"));
}
