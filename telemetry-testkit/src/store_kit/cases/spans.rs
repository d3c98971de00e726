//! Spans: how starts and ends are joined, and queries for the spans of many traces.

use std::sync::Arc;

use telemetry_core::query::{FilterOp::Eq, LogQuery, SpanQuery};
use telemetry_core::{
    EventContext, LogBody, LogRecord, Signal, Span, SpanEvent, SpanKind, SpanState, SpanStatus, Timestamp,
    Value, attrs,
};

use crate::signals::{
    at, child, end_waiting, ended, key, log, log_record, long, open_span, span, started, trace_id,
};
use crate::store_kit::test_store::{TestStore, filter};

/// A span is visible as soon as it has started.
pub async fn an_open_span_is_visible(store: &mut TestStore) {
    store.write([started(Span { attributes: attrs! { "a" => 1 }, ..open_span(1, 1, 5) })]).await;
    assert_eq!(store.span_text(1, 1).await.as_deref(), Some(r#"span open 5..- {"a":1}"#));
    assert_eq!(store.traces_with([filter("a", Eq, 1)]).await, [1]);
    store.write([ended(Span { attributes: attrs! { "a" => 2 }, ..span(1, 1, 5, 9) })]).await;
    assert_eq!(store.span_text(1, 1).await.as_deref(), Some(r#"span ok 5..9 {"a":2}"#));
    assert_eq!(store.traces_with([filter("a", Eq, 1)]).await, []);
    assert_eq!(store.traces_with([filter("a", Eq, 2)]).await, [1]);
}

/// A second start replaces the first.
pub async fn a_second_start_replaces_the_first(store: &mut TestStore) {
    store.write([started(open_span(1, 1, 5))]).await;
    let again = Span { attributes: attrs! { "b" => 2 }, ..open_span(1, 1, 5) };
    store.write([started(again)]).await;
    assert_eq!(store.span_text(1, 1).await.as_deref(), Some(r#"span open 5..- {"b":2}"#));
    assert_eq!(store.tree(None, 1, None).await.as_deref(), Some("1:1"));
}

/// Nothing that comes after its end changes a span.
pub async fn an_ended_span_is_never_overwritten(store: &mut TestStore) {
    let whole = Some(r#"span ok 5..9 {"a":1}"#);
    let other = Span { name: "other".into(), status: Some(SpanStatus::Error), ..span(1, 1, 0, 99) };
    store.write([ended(Span { attributes: attrs! { "a" => 1 }, ..span(1, 1, 5, 9) })]).await;
    for later in [
        started(Span { name: "other".into(), ..open_span(1, 1, 0) }),
        ended(other.clone()),
        ended(Span { state: SpanState::Unfinished, ..other.clone() }),
        end_waiting(1, 1, 99, attrs! { "a" => 2 }),
    ] {
        store.write([later.clone()]).await;
        assert_eq!(store.span_text(1, 1).await.as_deref(), whole, "after {later:?}");
    }
    // The same within one batch.
    store.write([ended(span(2, 1, 5, 9)), ended(Span { trace_id: trace_id(2), ..other })]).await;
    assert_eq!(store.span_text(2, 1).await.as_deref(), Some("span ok 5..9 {}"));
}

/// An end completes a start that only the store has. The end's attributes win.
pub async fn an_end_joins_the_start_it_finds(store: &mut TestStore) {
    store.write([started(Span { attributes: attrs! { "a" => 1, "b" => 1 }, ..open_span(1, 1, 5) })]).await;
    store.write([end_waiting(1, 1, 9, attrs! { "b" => 2 })]).await;
    assert_eq!(store.span_text(1, 1).await.as_deref(), Some(r#"span ok 5..9 {"a":1,"b":2}"#));
    assert_eq!(store.trace(1).await.as_deref(), Some("1 5..9"));
    store.write([end_waiting(1, 1, 20, attrs! { "b" => 3 })]).await;
    assert_eq!(store.span_text(1, 1).await.as_deref(), Some(r#"span ok 5..9 {"a":1,"b":2}"#));
}

/// An end without a start is not visible as a span. When the start comes, the span is complete. Of two ends, the first
/// counts.
pub async fn an_end_waits_for_its_start(store: &mut TestStore) {
    store
        .write([end_waiting(1, 1, 9, attrs! { "b" => 2 }), end_waiting(1, 1, 20, attrs! { "b" => 3 })])
        .await;
    assert_eq!(store.span_text(1, 1).await, None);
    store.write([started(Span { attributes: attrs! { "a" => 1, "b" => 1 }, ..open_span(1, 1, 5) })]).await;
    assert_eq!(store.span_text(1, 1).await.as_deref(), Some(r#"span ok 5..9 {"a":1,"b":2}"#));
}

/// An end completes a span that was given up while it was open.
pub async fn an_unfinished_span_is_completed_by_its_end(store: &mut TestStore) {
    let given_up = Span { state: SpanState::Unfinished, ..open_span(1, 1, 5) };
    store.write([started(open_span(1, 1, 5)), ended(given_up)]).await;
    assert_eq!(store.span_text(1, 1).await.as_deref(), Some("span unfinished 5..- {}"));
    store.write([end_waiting(1, 1, 9, attrs! {})]).await;
    assert_eq!(store.span_text(1, 1).await.as_deref(), Some("span ok 5..9 {}"));
}

/// An end that was given up is an unfinished span without a name. A start that comes later completes it.
pub async fn a_start_completes_an_end_that_was_given_up(store: &mut TestStore) {
    let given_up = Span {
        state: SpanState::Unfinished,
        attributes: attrs! { "b" => 2 },
        name: "".into(),
        ..span(1, 1, 9, 9)
    };
    store.write([end_waiting(1, 1, 9, attrs! { "b" => 2 }), ended(given_up)]).await;
    assert_eq!(store.span_text(1, 1).await.as_deref(), Some(r#" unfinished 9..9 {"b":2}"#));
    store.write([started(Span { attributes: attrs! { "a" => 1 }, ..open_span(1, 1, 5) })]).await;
    assert_eq!(store.span_text(1, 1).await.as_deref(), Some(r#"span ok 5..9 {"a":1,"b":2}"#));
    assert_eq!(store.trace(1).await.as_deref(), Some("1 5..9"));
}

/// An end with the trace id that its caller knows finds its span, also if the span was moved to a remote trace.
pub async fn an_end_under_the_submitted_trace_follows_its_span(store: &mut TestStore) {
    let moved = Span { submitted_trace_id: Some(trace_id(9)), local_root: true, ..open_span(1, 1, 5) };
    store.write([started(moved.clone())]).await;
    store.write([end_waiting(9, 1, 9, attrs! {})]).await;
    assert_eq!(store.span_text(1, 1).await.as_deref(), Some("span ok 5..9 {}"));
    assert_eq!(store.trace(9).await, None);
    // And the other way round.
    store.write([end_waiting(8, 2, 9, attrs! {})]).await;
    let moved = Span { submitted_trace_id: Some(trace_id(8)), ..moved };
    store.write([started(Span { span_id: key(1, 2).span_id, ..moved })]).await;
    assert_eq!(store.span_text(1, 2).await.as_deref(), Some("span ok 5..9 {}"));
}

/// The trace id and the span id together identify a span.
pub async fn the_same_span_id_in_another_trace_is_another_span(store: &mut TestStore) {
    store.write([ended(span(1, 1, 0, 1)), ended(span(2, 1, 5, 9)), started(open_span(3, 1, 7))]).await;
    assert_eq!(store.span_text(1, 1).await.as_deref(), Some("span ok 0..1 {}"));
    assert_eq!(store.span_text(2, 1).await.as_deref(), Some("span ok 5..9 {}"));
    assert_eq!(store.span_text(3, 1).await.as_deref(), Some("span open 7..- {}"));
}

/// Every field of a span comes back unchanged, and times to the nanosecond.
pub async fn a_span_keeps_everything(store: &mut TestStore) {
    let whole = Span {
        parent_span_id: Some(key(1, 1 << 63).span_id),
        name: "näme\n\u{0}🦙".into(),
        kind: SpanKind::Consumer,
        service_name: Some("other".into()),
        start_time: Timestamp::from_nanos(at(0).as_nanos() + 1),
        end_time: Some(Timestamp::from_nanos(at(0).as_nanos() + 123_456_789)),
        status: Some(SpanStatus::Error),
        attributes: attrs! {
            "z" => "last letter first", "a" => i64::MAX, "f" => 7.0, "g" => -1.5e-300, "b" => false,
            "null" => Value::Null, "__k" => "", "a.b\"[0]" => "odd", "long" => "x".repeat(100_000),
        },
        trace_state: Some("vendor=1".into()),
        dropped_attributes_count: 3,
        dropped_events_count: 4,
        arrived: at(200),
        ttl: long(),
        ..span(u128::MAX, u64::MAX, 0, 0)
    };
    let unset = Span { status: None, ..span(2, 2, 3, 3) };
    store.write([ended(whole.clone()), ended(unset.clone())]).await;
    assert_eq!(store.span(u128::MAX, u64::MAX).await, Some(whole));
    assert_eq!(store.span(2, 2).await, Some(unset));
}

/// A client that missed the answer sends whole spans by OTLP again. They and their events are stored once.
pub async fn a_whole_span_that_comes_again_changes_nothing(store: &mut TestStore) {
    let event = |name, at| {
        let body = LogBody::SpanEvent { name };
        Arc::new(LogRecord { body, ..log_record(EventContext::Span(key(1, 1)), at, "") })
    };
    let whole = || {
        let event = event("first token".into(), 3);
        let events = vec![SpanEvent::Log(Arc::clone(&event))];
        [Signal::Log(event), ended(Span { events, ..span(1, 1, 0, 9) })]
    };
    store.write(whole()).await;
    let late = Signal::Log(event("last token".into(), 5));
    let new = [late, log(EventContext::Span(key(1, 1)), 4, "late"), ended(span(1, 2, 1, 2))];
    store.write(whole().into_iter().chain(new)).await;
    assert_eq!(store.logs(LogQuery::default()).await, ["last token", "late", "first token"]);
    assert_eq!(store.span_text(1, 2).await.as_deref(), Some("span ok 1..2 {}"));
}

async fn store_two_traces(store: &mut TestStore) {
    store
        .write([
            ended(Span { attributes: attrs! { "model" => "m1", "tokens" => 5 }, ..span(1, 1, 0, 90) }),
            ended(Span { attributes: attrs! { "tokens" => 3 }, ..child(1, 2, 1, 10, 20) }),
            ended(Span { attributes: attrs! { "tokens" => Value::Null }, ..child(1, 3, 2, 12, 14) }),
            ended(Span { attributes: attrs! { "tokens" => 9 }, ..child(1, 4, 99, 5, 6) }),
            ended(Span { attributes: attrs! { "model" => "m1" }, ..span(2, 1, 100, 110) }),
            ended(Span { attributes: attrs! { "model" => "m2" }, ..span(3, 1, 200, 210) }),
        ])
        .await;
}

fn of_model(model: &'static str) -> SpanQuery {
    SpanQuery { filters: vec![filter("model", Eq, model)], ..SpanQuery::default() }
}

/// If one span of a trace matches, the answer has all its spans, also those that are not below the root.
pub async fn query_spans_returns_matching_traces_whole(store: &mut TestStore) {
    store_two_traces(store).await;
    assert_eq!(
        store.spans(of_model("m1")).await,
        [
            r#"2/1{"model":"m1"}"#,
            r#"1/1{"model":"m1","tokens":5}"#,
            r#"1/2{"tokens":3}"#,
            r#"1/3{"tokens":null}"#,
            r#"1/4{"tokens":9}"#,
        ]
    );
    assert_eq!(store.spans(of_model("m3")).await, Vec::<String>::new());
    assert_eq!(store.spans(SpanQuery::default()).await.len(), 6);
}

/// With a maximum depth, the answer has only spans at most that far below the root.
pub async fn query_spans_stops_at_max_depth(store: &mut TestStore) {
    store_two_traces(store).await;
    let to_depth = |depth| SpanQuery { max_depth: Some(depth), ..of_model("m1") };
    let roots = [r#"2/1{"model":"m1"}"#, r#"1/1{"model":"m1","tokens":5}"#];
    assert_eq!(store.spans(to_depth(1)).await, roots);
    assert_eq!(store.spans(to_depth(2)).await, [&roots[..], &[r#"1/2{"tokens":3}"#]].concat());
    assert_eq!(store.spans(to_depth(u32::MAX)).await.len(), 4);
}

/// The answer has only spans with all requested attributes, none of them null, and no other attributes.
pub async fn query_spans_requires_all_attributes_and_returns_only_those(store: &mut TestStore) {
    store_two_traces(store).await;
    let with = |keys: &[&str]| SpanQuery {
        attributes: keys.iter().map(ToString::to_string).collect(),
        ..of_model("m1")
    };
    assert_eq!(
        store.spans(with(&["tokens"])).await,
        [r#"1/1{"tokens":5}"#, r#"1/2{"tokens":3}"#, r#"1/4{"tokens":9}"#]
    );
    assert_eq!(store.spans(with(&["tokens", "model"])).await, [r#"1/1{"model":"m1","tokens":5}"#]);
    assert_eq!(store.spans(with(&["absent"])).await, Vec::<String>::new());
}

/// The answer has all spans, however many there are.
pub async fn query_spans_has_no_limit(store: &mut TestStore) {
    for trace in 1..=30_u128 {
        let spans = (1..=100_u64)
            .map(|id| if id == 1 { span(trace, 1, 0, 9) } else { child(trace, id, id / 2, 1, 2) });
        store.write(spans.map(ended)).await;
    }
    assert_eq!(store.spans(SpanQuery::default()).await.len(), 3_000);
    assert_eq!(store.spans(SpanQuery { max_depth: Some(3), ..SpanQuery::default() }).await.len(), 30 * 7);
}
