//! Filters on spans.

use telemetry_core::query::FilterOp::{self, Eq, Gt, Lt, Ne};
use telemetry_core::{Attributes, Span, SpanKind, SpanStatus, Value, attrs};

use crate::signals::{child, ended, open_span, span, started};
use crate::store_kit::test_store::{TestStore, filter};

/// Stores one span per set of attributes, each in its own trace: 1, 2, …
async fn store_each<const N: usize>(store: &mut TestStore, sets: [Attributes; N]) {
    let spans = sets.into_iter().zip(1..).map(|(attributes, trace)| {
        let start = i64::try_from(trace).unwrap_or_default();
        ended(Span { attributes, ..span(trace, 1, start, start + 1) })
    });
    store.write(spans).await;
}

/// Returns the traces that match one filter, oldest first.
async fn matching(store: &TestStore, key: &str, op: FilterOp, value: impl Into<Value>) -> Vec<u128> {
    let mut traces = store.traces_with([filter(key, op, value)]).await;
    traces.reverse();
    traces
}

/// One span must match all filters.
pub async fn one_span_must_match_all_filters(store: &mut TestStore) {
    store
        .write([
            ended(Span { attributes: attrs! { "a" => 1 }, ..span(1, 1, 0, 10) }),
            ended(Span { attributes: attrs! { "b" => 2 }, ..child(1, 2, 1, 0, 5) }),
            ended(Span { attributes: attrs! { "a" => 1, "b" => 2 }, ..span(2, 1, 1, 10) }),
        ])
        .await;
    assert_eq!(store.traces_with([filter("a", Eq, 1)]).await, [2, 1]);
    assert_eq!(store.traces_with([filter("a", Eq, 1), filter("b", Eq, 2)]).await, [2]);
    assert_eq!(store.traces_with([filter("a", Eq, 1), filter("a", Eq, 2)]).await, []);
}

/// A filter that one span matches finds the whole trace.
pub async fn the_whole_trace_is_found(store: &mut TestStore) {
    store
        .write([
            ended(span(1, 1, 0, 100)),
            ended(Span { attributes: attrs! { "deep" => true }, ..child(1, 2, 1, 10, 20) }),
        ])
        .await;
    assert_eq!(store.traces_with([filter("deep", Eq, true)]).await, [1]);
    assert_eq!(store.trace(1).await.as_deref(), Some("1 0..100"));
}

/// 7 equals 7.0 but not "7". Integers are not rounded.
pub async fn numbers_compare_with_numbers(store: &mut TestStore) {
    let large = (1_i64 << 53) + 1;
    store_each(
        store,
        [
            attrs! { "n" => 7 },
            attrs! { "n" => 7.0 },
            attrs! { "n" => "7" },
            attrs! { "n" => -2.5 },
            attrs! { "n" => large },
            attrs! { "n" => i64::MAX },
            attrs! { "n" => i64::MIN },
            attrs! { "n" => -0.0 },
        ],
    )
    .await;
    assert_eq!(matching(store, "n", Eq, 7).await, [1, 2]);
    assert_eq!(matching(store, "n", Eq, 7.0).await, [1, 2]);
    assert_eq!(matching(store, "n", Eq, "7").await, [3]);
    assert_eq!(matching(store, "n", Eq, 0).await, [8]);
    assert_eq!(matching(store, "n", Eq, large - 1).await, []);
    assert_eq!(matching(store, "n", Eq, 9_007_199_254_740_992.0).await, []);
    assert_eq!(matching(store, "n", Gt, 9_007_199_254_740_992.0).await, [5, 6]);
    assert_eq!(matching(store, "n", Gt, 6.5).await, [1, 2, 5, 6]);
    assert_eq!(matching(store, "n", Gt, 7).await, [5, 6]);
    assert_eq!(matching(store, "n", Lt, -2).await, [4, 7]);
    assert_eq!(matching(store, "n", Lt, f64::MAX).await, [1, 2, 4, 5, 6, 7, 8]);
    assert_eq!(matching(store, "n", Gt, i64::MAX - 1).await, [6]);
}

/// Strings compare by their bytes. Case and spaces matter.
pub async fn strings_compare_bytewise(store: &mut TestStore) {
    store_each(
        store,
        [
            attrs! { "s" => "Zebra" },
            attrs! { "s" => "apple" },
            attrs! { "s" => "äpfel" },
            attrs! { "s" => "apple " },
            attrs! { "s" => "" },
            attrs! { "s" => "a\u{0}b" },
        ],
    )
    .await;
    assert_eq!(matching(store, "s", Eq, "apple").await, [2]);
    assert_eq!(matching(store, "s", Eq, "").await, [5]);
    assert_eq!(matching(store, "s", Eq, "a\u{0}b").await, [6]);
    assert_eq!(matching(store, "s", Gt, "apple").await, [3, 4]);
    assert_eq!(matching(store, "s", Lt, "apple").await, [1, 5, 6]);
}

/// A number is neither greater nor less than a string. Values of different types never match `eq`, `gt` or `lt`.
pub async fn values_of_different_types_have_no_order(store: &mut TestStore) {
    store_each(store, [attrs! { "v" => 5 }, attrs! { "v" => "5" }, attrs! { "v" => true }]).await;
    assert_eq!(matching(store, "v", Gt, 1).await, [1]);
    assert_eq!(matching(store, "v", Lt, "9").await, [2]);
    assert_eq!(matching(store, "v", Eq, 1).await, []);
    assert_eq!(matching(store, "v", Ne, 5).await, [2, 3]);
}

/// Booleans and nulls match only `eq` and `ne`.
pub async fn bools_and_nulls_are_only_equal_or_not(store: &mut TestStore) {
    store_each(store, [attrs! { "v" => true }, attrs! { "v" => false }, attrs! { "v" => Value::Null }]).await;
    assert_eq!(matching(store, "v", Eq, true).await, [1]);
    assert_eq!(matching(store, "v", Ne, true).await, [2, 3]);
    assert_eq!(matching(store, "v", Gt, false).await, []);
    assert_eq!(matching(store, "v", Lt, true).await, []);
    assert_eq!(matching(store, "v", Eq, Value::Null).await, [3]);
    assert_eq!(matching(store, "v", Ne, Value::Null).await, [1, 2]);
    assert_eq!(matching(store, "v", Gt, Value::Null).await, []);
}

/// `ne` matches only spans that have the key. `eq null` finds values that are null.
pub async fn ne_needs_the_key(store: &mut TestStore) {
    store_each(store, [attrs! { "k" => 1 }, attrs! {}, attrs! { "k" => Value::Null }]).await;
    assert_eq!(matching(store, "k", Ne, 2).await, [1, 3]);
    assert_eq!(matching(store, "k", Eq, Value::Null).await, [3]);
    assert_eq!(matching(store, "absent", Ne, 2).await, []);
}

/// Dots, quotes, brackets, unicode and path syntax in keys have no special meaning.
pub async fn keys_are_literal(store: &mut TestStore) {
    let keys = ["a.b", "a\"b", "a'b", "[0]", "$.a", "ключ 🔑", "a\\b", " ", "%", "a\u{0}b", "__hidden__"];
    for (key, trace) in keys.into_iter().zip(1..) {
        store.write([ended(Span { attributes: attrs! { key => "x" }, ..span(trace, 1, 0, 1) })]).await;
    }
    for (key, trace) in keys.into_iter().zip(1..) {
        assert_eq!(matching(store, key, Eq, "x").await, [trace], "{key:?}");
    }
    for key in ["a", "b", "*", "a%", "a_b", "hidden"] {
        assert_eq!(matching(store, key, Ne, "y").await, [], "{key:?}");
    }
}

/// Every span has the keys `name`, `status`, `kind`, `service_name`, `duration_ms`, `span_id` and `trace_id`. An
/// attribute of the same name wins.
pub async fn attributes_win_over_built_in_keys(store: &mut TestStore) {
    let first = Span {
        name: "chat".into(),
        kind: SpanKind::Server,
        service_name: Some("other".into()),
        status: Some(SpanStatus::Error),
        ..span(1, 10, 0, 250)
    };
    let second = Span { attributes: attrs! { "name" => "own", "status" => 3 }, ..span(2, 11, 1, 2) };
    store.write([ended(first), ended(second)]).await;
    assert_eq!(matching(store, "name", Eq, "chat").await, [1]);
    assert_eq!(matching(store, "name", Eq, "span").await, []);
    assert_eq!(matching(store, "name", Eq, "own").await, [2]);
    assert_eq!(matching(store, "status", Eq, "error").await, [1]);
    assert_eq!(matching(store, "status", Eq, 3).await, [2]);
    assert_eq!(matching(store, "kind", Eq, "server").await, [1]);
    assert_eq!(matching(store, "kind", Eq, "internal").await, [2]);
    assert_eq!(matching(store, "service_name", Eq, "other").await, [1]);
    assert_eq!(matching(store, "service_name", Eq, crate::SERVICE_NAME).await, [2]);
    assert_eq!(matching(store, "duration_ms", Gt, 249.5).await, [1]);
    assert_eq!(matching(store, "duration_ms", Eq, 1).await, [2]);
    assert_eq!(matching(store, "span_id", Eq, "000000000000000b").await, [2]);
    assert_eq!(matching(store, "trace_id", Eq, "00000000000000000000000000000001").await, [1]);
}

/// An open span has no status and no duration.
pub async fn an_open_span_has_no_status_and_no_duration(store: &mut TestStore) {
    let unset = Span { status: None, ..span(2, 1, 0, 5) };
    store.write([started(open_span(1, 1, 0)), ended(unset)]).await;
    assert_eq!(matching(store, "status", Ne, "ok").await, []);
    assert_eq!(matching(store, "duration_ms", Gt, -1).await, [2]);
    assert_eq!(matching(store, "name", Eq, "span").await, [1, 2]);
}

/// One value among many is found, and a missing value is not.
pub async fn a_value_is_found_among_many_spans(store: &mut TestStore) {
    for batch in 0..10_u32 {
        let spans = (0..200_u32).map(|number| {
            let number = batch * 200 + number;
            let attributes = attrs! { "request" => format!("r{number}"), "number" => number, "model" => "m" };
            let start = i64::from(number);
            ended(Span { attributes, ..span(u128::from(number) + 1, 1, start, start + 1) })
        });
        store.write(spans).await;
    }
    assert_eq!(store.traces_with([filter("request", Eq, "r1234")]).await, [1_235]);
    assert_eq!(store.traces_with([filter("request", Eq, "r2000")]).await, []);
    assert_eq!(store.traces_with([filter("number", Lt, 2)]).await, [2, 1]);
    assert_eq!(
        store.traces_with([filter("number", Gt, 1_997), filter("model", Eq, "m")]).await,
        [2_000, 1_999]
    );
    assert_eq!(store.traces_with([filter("model", Ne, "x")]).await.len(), 2_000);
}
