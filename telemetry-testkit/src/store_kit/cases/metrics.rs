//! Queries for metrics: series, matchers, windows, steps, aggregation.

use std::sync::Arc;

use telemetry_core::query::{Aggregation, LabelMatcher, MatcherOp, MetricQuery, QueryType};
use telemetry_core::{
    Attributes, MetricKind, MetricPoint, MetricValue, Signal, StreamMark, Timestamp, Ttl, attrs,
};

use crate::signals::{at, metric, metric_point};
use crate::store_kit::test_store::{TestStore, all_of};

/// Returns a metric point of a gauge. Without the kind, an integer would make it a counter.
fn gauge(name: &'static str, value: impl Into<MetricValue>, seconds: i64) -> Signal {
    let kind = Some(MetricKind::Gauge);
    Signal::Metric(Arc::new(MetricPoint { kind, ..metric_point(name, value, seconds * 1_000, attrs! {}) }))
}

fn counter(value: i64, seconds: i64, labels: Attributes) -> Signal {
    metric("requests", value, seconds * 1_000, labels)
}

fn stepped(metric: &str, step: &str) -> MetricQuery {
    MetricQuery { granularity: Some(step.parse().expect("a step")), ..all_of(metric) }
}

/// Metric points with different labels or units are different series. Labels compare as text.
pub async fn one_series_per_label_set_and_unit(store: &mut TestStore) {
    let in_ms = MetricPoint { unit: "ms".into(), ..metric_point("m", 4, 4_000, attrs! { "a" => "x" }) };
    store
        .write([
            metric("m", 1, 1_000, attrs! { "a" => "x" }),
            metric("m", 2, 2_000, attrs! { "a" => "y" }),
            metric("m", 3, 3_000, attrs! {}),
            Signal::Metric(Arc::new(in_ms)),
            metric("m", 5, 5_000, attrs! { "b" => 7, "a" => "x" }),
            metric("m", 6, 6_000, attrs! { "a" => "x", "b" => "7" }),
            metric("other", 7, 7_000, attrs! { "a" => "x" }),
        ])
        .await;
    assert_eq!(
        store.metrics(all_of("m")).await,
        ["{a=x,b=7} 1: 5=5 6=6", "{a=x} 1: 1=1", "{a=x} ms: 4=4", "{a=y} 1: 2=2", "{} 1: 3=3"]
    );
}

/// The short and the exported name of a known metric are one series. The answer has the requested name.
pub async fn both_names_are_one_series(store: &mut TestStore) {
    let tokens = |name: &'static str, value, seconds: i64| {
        let point = metric_point(name, value, seconds * 1_000, attrs! { "model_id" => "m" });
        Signal::Metric(Arc::new(MetricPoint { unit: "tokens".into(), ..point }))
    };
    store.write([tokens("prompt_tokens", 1, 1), tokens("llama_stack_prompt_tokens_total", 2, 2)]).await;
    for name in ["prompt_tokens", "llama_stack_prompt_tokens_total"] {
        assert_eq!(store.metrics(all_of(name)).await, ["{model_id=m} tokens: 1=1 2=2"], "{name}");
        let series = store.trace_store().query_metrics(all_of(name)).await.expect("an answer");
        assert_eq!(series[0].metric, name);
    }
}

/// `=`, `!=`, `=~` and `!~` match the whole value. A missing label is the empty string.
pub async fn matchers_are_those_of_prometheus(store: &mut TestStore) {
    use MatcherOp::{Equal, Match, NotEqual, NotMatch};

    store
        .write([
            counter(1, 1, attrs! { "model" => "llama" }),
            counter(2, 1, attrs! { "model" => "my-llama" }),
            counter(3, 1, attrs! { "model" => "qwen", "shard" => 7 }),
            counter(4, 1, attrs! {}),
        ])
        .await;
    let values = async |matchers: &[(&str, MatcherOp, &str)]| {
        let matchers = matchers.iter().map(|(name, op, value)| LabelMatcher::new(*name, *op, *value));
        let matchers = matchers.collect::<Result<Vec<_>, _>>().expect("matchers");
        let series = store.trace_store().query_metrics(MetricQuery { matchers, ..all_of("requests") }).await;
        let mut values: Vec<f64> = series
            .expect("an answer")
            .iter()
            .flat_map(|series| &series.values)
            .map(|point| point.value)
            .collect();
        values.sort_by(f64::total_cmp);
        values
    };
    assert_eq!(values(&[("model", Equal, "llama")]).await, [1.0]);
    assert_eq!(values(&[("model", NotEqual, "llama")]).await, [2.0, 3.0, 4.0]);
    assert_eq!(values(&[("model", Match, "llama|q.*")]).await, [1.0, 3.0]);
    assert_eq!(values(&[("model", NotMatch, "llama|q.*")]).await, [2.0, 4.0]);
    assert_eq!(values(&[("model", Equal, "")]).await, [4.0]);
    assert_eq!(values(&[("shard", Equal, "7")]).await, [3.0]);
    assert_eq!(values(&[("shard", NotEqual, "")]).await, [3.0]);
    assert_eq!(values(&[("model", Match, ".+"), ("shard", Match, "")]).await, [1.0, 2.0]);
}

/// Metric points exactly at the start and the end belong to the window.
pub async fn the_window_is_inclusive_at_both_ends(store: &mut TestStore) {
    store.write((0..5_i64).map(|second| metric("m", second, second * 1_000, attrs! {}))).await;
    let window = |start: Timestamp, end: Timestamp| MetricQuery { start, end, ..all_of("m") };
    let later = |time: Timestamp, nanos: i64| Timestamp::from_nanos(time.as_nanos() + nanos);
    assert_eq!(store.metrics(window(at(1_000), at(3_000))).await, ["{} 1: 1=1 2=2 3=3"]);
    assert_eq!(store.metrics(window(later(at(1_000), 1), later(at(3_000), -1))).await, ["{} 1: 2=2"]);
    assert_eq!(store.metrics(window(at(2_000), at(2_000))).await, ["{} 1: 2=2"]);
}

/// A step starts at a multiple of its length since 1970. Empty steps are left out.
pub async fn steps_are_aligned_to_the_epoch(store: &mut TestStore) {
    // 12:00:00 is the start of a minute and of an hour.
    store.write([10, 59, 60, 185].map(|second| counter(1, second, attrs! {}))).await;
    assert_eq!(store.metrics(stepped("requests", "1m")).await, ["{} 1: 0=2 60=1 180=1"]);
    assert_eq!(store.metrics(stepped("requests", "1h")).await, ["{} 1: 0=4"]);
    let from_the_middle = MetricQuery { start: at(30_000), ..stepped("requests", "1m") };
    assert_eq!(store.metrics(from_the_middle).await, ["{} 1: 0=1 60=1 180=1"]);
    let weeks = store.metrics(stepped("requests", "1w")).await;
    // Weeks start on Thursdays, as 1970 did; 2026-03-01 is a Sunday.
    assert_eq!(weeks, [format!("{{}} 1: {}=4", -(3 * 86_400 + 43_200))]);
}

/// Per step, a counter adds up its points, a gauge takes the last one, and a histogram counts them.
pub async fn the_instrument_decides_how_points_combine(store: &mut TestStore) {
    let histogram = |value: f64, milliseconds| {
        let kind = Some(MetricKind::Histogram);
        let point = metric_point("sizes", value, milliseconds, attrs! {});
        Signal::Metric(Arc::new(MetricPoint { kind, ..point }))
    };
    store
        .write([
            counter(2, 1, attrs! {}),
            counter(3, 2, attrs! {}),
            gauge("queue", 9, 2),
            gauge("queue", 4, 1),
            histogram(0.5, 1_000),
            histogram(1.5, 2_000),
            metric("load", 0.25, 2_000, attrs! {}),
            metric("load", 0.75, 1_000, attrs! {}),
            metric("bytes_total", 1.5, 1_000, attrs! {}),
            metric("bytes_total", 2.5, 2_000, attrs! {}),
            metric("llama_stack_concurrent_requests", 1, 1_000, attrs! {}),
            metric("llama_stack_concurrent_requests", 0, 2_000, attrs! {}),
        ])
        .await;
    for (name, expected) in [
        ("requests", "{} 1: 0=5"),
        ("queue", "{} 1: 0=9"),
        ("sizes", "{} 1: 0=2"),
        ("load", "{} 1: 0=0.25"),
        ("bytes_total", "{} 1: 0=4"),
        ("llama_stack_concurrent_requests", "{} 1: 0=0"),
    ] {
        assert_eq!(store.metrics(stepped(name, "1m")).await, [expected], "{name}");
    }
}

/// Every aggregation of the same points.
pub async fn every_aggregation_works(store: &mut TestStore) {
    let points = [1.0, 2.0, 3.0, 10.0].into_iter().zip([4_000, 1_000, 2_000, 3_000]);
    store.write(points.map(|(value, time)| metric("m", value, time, attrs! {}))).await;
    for (aggregation, expected) in [
        (Aggregation::Sum, "16"),
        (Aggregation::Avg, "4"),
        (Aggregation::Min, "1"),
        (Aggregation::Max, "10"),
        (Aggregation::Last, "1"),
        (Aggregation::Count, "4"),
        (Aggregation::P50, "2.5"),
    ] {
        let query = MetricQuery { aggregation: Some(aggregation), ..stepped("m", "1m") };
        assert_eq!(store.metrics(query).await, [format!("{{}} 1: 0={expected}")], "{aggregation}");
    }
}

/// An instant query returns one point per series, at the end of the window.
pub async fn an_instant_query_has_one_point_at_the_end(store: &mut TestStore) {
    store
        .write([
            counter(1, 1, attrs! { "a" => 1 }),
            counter(2, 2, attrs! { "a" => 1 }),
            counter(4, 9, attrs! {}),
        ])
        .await;
    let instant = |end| MetricQuery { query_type: QueryType::Instant, end: at(end), ..all_of("requests") };
    assert_eq!(store.metrics(instant(5_000)).await, ["{a=1} 1: 5=3"]);
    assert_eq!(store.metrics(instant(9_000)).await, ["{a=1} 1: 9=3", "{} 1: 9=4"]);
}

/// Without a step, all points come back, oldest first. Equal times keep the order of arrival. Seconds are rounded down.
pub async fn raw_points_keep_their_values(store: &mut TestStore) {
    store
        .write([
            gauge("m", 3, 2),
            gauge("m", -1, 1),
            gauge("m", 0.5, 2),
            gauge("m", i64::MAX, 3),
            gauge("n", 1, 1),
        ])
        .await;
    store.write([Signal::Metric(Arc::new(metric_point("m", 8, 2_999, attrs! {})))]).await;
    assert_eq!(store.metrics(all_of("m")).await, ["{} 1: 1=-1 2=3 2=0.5 2=8 3=9223372036854776000"]);
}

/// If nothing matches, the answer is empty.
pub async fn an_unknown_metric_or_an_empty_window_is_empty(store: &mut TestStore) {
    store.write([counter(1, 1, attrs! {})]).await;
    let none = Vec::<String>::new();
    assert_eq!(store.metrics(all_of("unknown")).await, none);
    assert_eq!(store.metrics(MetricQuery { start: at(2_000), ..all_of("requests") }).await, none);
    assert_eq!(store.metrics(MetricQuery { start: at(5), end: at(1), ..all_of("requests") }).await, none);
    let no_match = LabelMatcher::new("a", MatcherOp::Equal, "b").expect("a matcher");
    assert_eq!(store.metrics(MetricQuery { matchers: vec![no_match], ..all_of("requests") }).await, none);
}

/// The latest mark of a stream comes back until its metric point expires.
pub async fn a_stream_keeps_its_latest_mark(store: &mut TestStore) {
    let mark = |stream: u128, state: &'static str| StreamMark { stream, state: state.into() };
    let point = |mark: StreamMark, arrived: Timestamp| {
        let (stream, ttl) = (Some(Arc::new(mark)), Ttl::default());
        Signal::Metric(Arc::new(MetricPoint { stream, arrived, ttl, ..metric_point("m", 1, 0, attrs! {}) }))
    };
    let now = Timestamp::now();
    store.write([point(mark(u128::MAX, "1"), now), point(mark(u128::MAX, "2"), now)]).await;
    store.write([point(mark(u128::MAX, "3"), now), point(mark(7, "a"), now)]).await;
    let long_ago = Timestamp::from_nanos(0);
    store.write([point(mark(9, "expired"), long_ago)]).await;
    let mut marks = store.trace_store().stream_marks(&[1, 7, 9, u128::MAX]).await.expect("an answer");
    marks.sort_by_key(|mark| mark.stream);
    assert_eq!(marks, [mark(7, "a"), mark(u128::MAX, "3")]);
}
