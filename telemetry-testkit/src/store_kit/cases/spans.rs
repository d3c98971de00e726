//! Spans: how their halves meet, and the spans of many traces.

use std::sync::Arc;

use telemetry_core::query::{FilterOp::Eq, LogQuery, SpanQuery};
use telemetry_core::{
    EventContext, LogBody, LogRecord, Signal, Span, SpanEvent, SpanKind, SpanState, SpanStatus, Timestamp,
    Value, attrs,
};

use crate::signals::{
    at, child, end_waiting, ended, key, log, log_record, long, open_span, span, started, trace_id,
};
use crate::store_kit::Stage;
use crate::store_kit::stage::filter;

/// A span is there as soon as it has started.
pub async fn an_open_span_is_visible(stage: &mut Stage) {
    stage.write([started(Span { attributes: attrs! { "a" => 1 }, ..open_span(1, 1, 5) })]).await;
    assert_eq!(stage.span_text(1, 1).await.as_deref(), Some(r#"span open 5..- {"a":1}"#));
    assert_eq!(stage.traces_with([filter("a", Eq, 1)]).await, [1]);
    stage.write([ended(Span { attributes: attrs! { "a" => 2 }, ..span(1, 1, 5, 9) })]).await;
    assert_eq!(stage.span_text(1, 1).await.as_deref(), Some(r#"span ok 5..9 {"a":2}"#));
    assert_eq!(stage.traces_with([filter("a", Eq, 1)]).await, []);
    assert_eq!(stage.traces_with([filter("a", Eq, 2)]).await, [1]);
}

/// A span that starts again is what the second start says.
pub async fn a_second_start_replaces_the_first(stage: &mut Stage) {
    stage.write([started(open_span(1, 1, 5))]).await;
    let again = Span { attributes: attrs! { "b" => 2 }, ..open_span(1, 1, 5) };
    stage.write([started(again)]).await;
    assert_eq!(stage.span_text(1, 1).await.as_deref(), Some(r#"span open 5..- {"b":2}"#));
    assert_eq!(stage.tree(None, 1, None).await.as_deref(), Some("1:1"));
}

/// Whatever comes after the end of a span, the span stays.
pub async fn a_finished_span_is_never_overwritten(stage: &mut Stage) {
    let whole = Some(r#"span ok 5..9 {"a":1}"#);
    let other = Span { name: "other".into(), status: Some(SpanStatus::Error), ..span(1, 1, 0, 99) };
    stage.write([ended(Span { attributes: attrs! { "a" => 1 }, ..span(1, 1, 5, 9) })]).await;
    for news in [
        started(Span { name: "other".into(), ..open_span(1, 1, 0) }),
        ended(other.clone()),
        ended(Span { state: SpanState::Unfinished, ..other.clone() }),
        end_waiting(1, 1, 99, attrs! { "a" => 2 }),
    ] {
        stage.write([news.clone()]).await;
        assert_eq!(stage.span_text(1, 1).await.as_deref(), whole, "after {news:?}");
    }
    // The same within one batch.
    stage.write([ended(span(2, 1, 5, 9)), ended(Span { trace_id: trace_id(2), ..other })]).await;
    assert_eq!(stage.span_text(2, 1).await.as_deref(), Some("span ok 5..9 {}"));
}

/// An end whose start only the store knows completes it; the end's attributes win.
pub async fn an_end_joins_the_start_it_finds(stage: &mut Stage) {
    stage.write([started(Span { attributes: attrs! { "a" => 1, "b" => 1 }, ..open_span(1, 1, 5) })]).await;
    stage.write([end_waiting(1, 1, 9, attrs! { "b" => 2 })]).await;
    assert_eq!(stage.span_text(1, 1).await.as_deref(), Some(r#"span ok 5..9 {"a":1,"b":2}"#));
    assert_eq!(stage.trace(1).await.as_deref(), Some("1 5..9"));
    stage.write([end_waiting(1, 1, 20, attrs! { "b" => 3 })]).await;
    assert_eq!(stage.span_text(1, 1).await.as_deref(), Some(r#"span ok 5..9 {"a":1,"b":2}"#));
}

/// An end without a start is no span yet; with its start it is whole. The first of two ends counts.
pub async fn an_end_waits_for_its_start(stage: &mut Stage) {
    stage
        .write([end_waiting(1, 1, 9, attrs! { "b" => 2 }), end_waiting(1, 1, 20, attrs! { "b" => 3 })])
        .await;
    assert_eq!(stage.span_text(1, 1).await, None);
    stage.write([started(Span { attributes: attrs! { "a" => 1, "b" => 1 }, ..open_span(1, 1, 5) })]).await;
    assert_eq!(stage.span_text(1, 1).await.as_deref(), Some(r#"span ok 5..9 {"a":1,"b":2}"#));
}

/// A span that was given up while open is completed by the end that comes after all.
pub async fn an_unfinished_span_is_completed_by_its_end(stage: &mut Stage) {
    let given_up = Span { state: SpanState::Unfinished, ..open_span(1, 1, 5) };
    stage.write([started(open_span(1, 1, 5)), ended(given_up)]).await;
    assert_eq!(stage.span_text(1, 1).await.as_deref(), Some("span unfinished 5..- {}"));
    stage.write([end_waiting(1, 1, 9, attrs! {})]).await;
    assert_eq!(stage.span_text(1, 1).await.as_deref(), Some("span ok 5..9 {}"));
}

/// An end that was given up is an unfinished span without a name, completed by a start that comes after all.
pub async fn a_start_completes_an_end_that_was_given_up(stage: &mut Stage) {
    let given_up = Span {
        state: SpanState::Unfinished,
        attributes: attrs! { "b" => 2 },
        name: "".into(),
        ..span(1, 1, 9, 9)
    };
    stage.write([end_waiting(1, 1, 9, attrs! { "b" => 2 }), ended(given_up)]).await;
    assert_eq!(stage.span_text(1, 1).await.as_deref(), Some(r#" unfinished 9..9 {"b":2}"#));
    stage.write([started(Span { attributes: attrs! { "a" => 1 }, ..open_span(1, 1, 5) })]).await;
    assert_eq!(stage.span_text(1, 1).await.as_deref(), Some(r#"span ok 5..9 {"a":1,"b":2}"#));
    assert_eq!(stage.trace(1).await.as_deref(), Some("1 5..9"));
}

/// An end that bears the trace id its caller knows finds the span in the remote trace it was moved to.
pub async fn an_end_under_the_submitted_trace_follows_its_span(stage: &mut Stage) {
    let moved = Span { submitted_trace_id: Some(trace_id(9)), local_root: true, ..open_span(1, 1, 5) };
    stage.write([started(moved.clone())]).await;
    stage.write([end_waiting(9, 1, 9, attrs! {})]).await;
    assert_eq!(stage.span_text(1, 1).await.as_deref(), Some("span ok 5..9 {}"));
    assert_eq!(stage.trace(9).await, None);
    // And the other way round.
    stage.write([end_waiting(8, 2, 9, attrs! {})]).await;
    let moved = Span { submitted_trace_id: Some(trace_id(8)), ..moved };
    stage.write([started(Span { span_id: key(1, 2).span_id, ..moved })]).await;
    assert_eq!(stage.span_text(1, 2).await.as_deref(), Some("span ok 5..9 {}"));
}

/// A span is known by its trace and its own id together.
pub async fn the_same_span_id_in_another_trace_is_another_span(stage: &mut Stage) {
    stage.write([ended(span(1, 1, 0, 1)), ended(span(2, 1, 5, 9)), started(open_span(3, 1, 7))]).await;
    assert_eq!(stage.span_text(1, 1).await.as_deref(), Some("span ok 0..1 {}"));
    assert_eq!(stage.span_text(2, 1).await.as_deref(), Some("span ok 5..9 {}"));
    assert_eq!(stage.span_text(3, 1).await.as_deref(), Some("span open 7..- {}"));
}

/// Every field of a span comes back as it was given, to the nanosecond.
pub async fn a_span_keeps_everything(stage: &mut Stage) {
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
    stage.write([ended(whole.clone()), ended(unset.clone())]).await;
    assert_eq!(stage.span(u128::MAX, u64::MAX).await, Some(whole));
    assert_eq!(stage.span(2, 2).await, Some(unset));
}

/// Whole spans come by OTLP, and come again when an answer got lost: with all their events, once.
pub async fn a_whole_span_that_comes_again_changes_nothing(stage: &mut Stage) {
    let event = |name, at| {
        let body = LogBody::SpanEvent { name };
        Arc::new(LogRecord { body, ..log_record(EventContext::Span(key(1, 1)), at, "") })
    };
    let whole = || {
        let event = event("first token".into(), 3);
        let events = vec![SpanEvent::Log(Arc::clone(&event))];
        [Signal::Log(event), ended(Span { events, ..span(1, 1, 0, 9) })]
    };
    stage.write(whole()).await;
    let late = Signal::Log(event("last token".into(), 5));
    let new = [late, log(EventContext::Span(key(1, 1)), 4, "late"), ended(span(1, 2, 1, 2))];
    stage.write(whole().into_iter().chain(new)).await;
    assert_eq!(stage.logs(LogQuery::default()).await, ["last token", "late", "first token"]);
    assert_eq!(stage.span_text(1, 2).await.as_deref(), Some("span ok 1..2 {}"));
}

async fn store_two_traces(stage: &mut Stage) {
    stage
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

/// A trace of which one span matches gives all its spans, also those the root does not lead to.
pub async fn query_spans_takes_matching_traces_whole(stage: &mut Stage) {
    store_two_traces(stage).await;
    assert_eq!(
        stage.spans(of_model("m1")).await,
        [
            r#"2/1{"model":"m1"}"#,
            r#"1/1{"model":"m1","tokens":5}"#,
            r#"1/2{"tokens":3}"#,
            r#"1/3{"tokens":null}"#,
            r#"1/4{"tokens":9}"#,
        ]
    );
    assert_eq!(stage.spans(of_model("m3")).await, Vec::<String>::new());
    assert_eq!(stage.spans(SpanQuery::default()).await.len(), 6);
}

/// With a depth only what the root leads to within it.
pub async fn query_spans_goes_down_to_max_depth(stage: &mut Stage) {
    store_two_traces(stage).await;
    let to_depth = |depth| SpanQuery { max_depth: Some(depth), ..of_model("m1") };
    let roots = [r#"2/1{"model":"m1"}"#, r#"1/1{"model":"m1","tokens":5}"#];
    assert_eq!(stage.spans(to_depth(1)).await, roots);
    assert_eq!(stage.spans(to_depth(2)).await, [&roots[..], &[r#"1/2{"tokens":3}"#]].concat());
    assert_eq!(stage.spans(to_depth(u32::MAX)).await.len(), 4);
}

/// Spans without one of the attributes, or with a null, are left out; others show only what was asked.
pub async fn query_spans_wants_all_attributes_and_returns_only_those(stage: &mut Stage) {
    store_two_traces(stage).await;
    let with = |keys: &[&str]| SpanQuery {
        attributes: keys.iter().map(ToString::to_string).collect(),
        ..of_model("m1")
    };
    assert_eq!(
        stage.spans(with(&["tokens"])).await,
        [r#"1/1{"tokens":5}"#, r#"1/2{"tokens":3}"#, r#"1/4{"tokens":9}"#]
    );
    assert_eq!(stage.spans(with(&["tokens", "model"])).await, [r#"1/1{"model":"m1","tokens":5}"#]);
    assert_eq!(stage.spans(with(&["absent"])).await, Vec::<String>::new());
}

/// All spans of all traces come, however many there are.
pub async fn query_spans_has_no_cap(stage: &mut Stage) {
    for trace in 1..=30_u128 {
        let spans = (1..=100_u64)
            .map(|id| if id == 1 { span(trace, 1, 0, 9) } else { child(trace, id, id / 2, 1, 2) });
        stage.write(spans.map(ended)).await;
    }
    assert_eq!(stage.spans(SpanQuery::default()).await.len(), 3_000);
    assert_eq!(stage.spans(SpanQuery { max_depth: Some(3), ..SpanQuery::default() }).await.len(), 30 * 7);
}
