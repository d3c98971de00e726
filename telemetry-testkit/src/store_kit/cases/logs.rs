//! Queries for logs.

use std::sync::Arc;

use telemetry_core::query::LogQuery;
use telemetry_core::{
    EventContext, LogBody, LogRecord, Severity, Signal, SpanEvent, Timestamp, Value, attrs,
};

use crate::collect;
use crate::signals::{
    at, ended, key, log, log_record, metric_point, open_span, span, span_id, started, trace_id,
};
use crate::store_kit::test_store::{TestStore, body_text};

fn all() -> LogQuery {
    LogQuery { limit: None, ..LogQuery::default() }
}

fn severe(severity: Severity, message: &'static str) -> Signal {
    let body = LogBody::Message { severity, message: message.into() };
    Signal::Log(Arc::new(LogRecord { body, ..log_record(EventContext::None, 0, "") }))
}

/// The latest time comes first. Of equal times, the log that arrived last comes first.
pub async fn newest_first_and_ties_by_arrival(store: &mut TestStore) {
    let none = EventContext::None;
    store.write([log(none, 5, "b"), log(none, 9, "d"), log(none, 5, "c"), log(none, 1, "a")]).await;
    store.write([log(none, 5, "c2")]).await;
    assert_eq!(store.logs(all()).await, ["d", "c2", "c", "b", "a"]);
}

/// A log of an ended or unknown span is found by its ids. A span lists its logs and metric points in order of arrival.
pub async fn a_late_log_belongs_to_its_span(store: &mut TestStore) {
    let of_span = EventContext::Span(key(1, 1));
    let point = telemetry_core::MetricPoint { context: of_span, ..metric_point("m", 1, 2, attrs! {}) };
    store
        .write([
            started(open_span(1, 1, 0)),
            log(of_span, 1, "early"),
            Signal::Metric(Arc::new(point)),
            ended(span(1, 1, 0, 5)),
        ])
        .await;
    store.write([log(of_span, 9, "late"), log(EventContext::Span(key(7, 7)), 1, "of no known span")]).await;
    let events = store.span(1, 1).await.map(|span| span.events).unwrap_or_default();
    let texts: Vec<&str> = events
        .iter()
        .map(|event| match event {
            SpanEvent::Log(log) => body_text(log),
            SpanEvent::Metric(point) => &point.name,
        })
        .collect();
    assert_eq!(texts, ["early", "m", "late"]);
    let of_trace = |trace| LogQuery { trace_id: Some(trace_id(trace)), ..all() };
    assert_eq!(store.logs(of_trace(1)).await, ["late", "early"]);
    assert_eq!(store.logs(of_trace(7)).await, ["of no known span"]);
}

/// Trace, span, severity, text and time each narrow the answer. A log must match all of them.
pub async fn every_filter_narrows(store: &mut TestStore) {
    store
        .write([
            log(EventContext::Span(key(1, 1)), 10, "alpha"),
            log(EventContext::Span(key(1, 2)), 20, "beta"),
            log(EventContext::Trace(trace_id(1)), 30, "gamma"),
            log(EventContext::Span(key(2, 1)), 40, "50% of_delta"),
            log(EventContext::None, 50, "ALPHA"),
        ])
        .await;
    let queries = [
        (LogQuery { trace_id: Some(trace_id(1)), ..all() }, vec!["gamma", "beta", "alpha"]),
        (LogQuery { span_id: Some(span_id(1)), ..all() }, vec!["50% of_delta", "alpha"]),
        (LogQuery { trace_id: Some(trace_id(1)), span_id: Some(span_id(1)), ..all() }, vec!["alpha"]),
        (LogQuery { contains: Some("pha".into()), ..all() }, vec!["alpha"]),
        (LogQuery { contains: Some("0% of_".into()), ..all() }, vec!["50% of_delta"]),
        (LogQuery { contains: Some("%".into()), ..all() }, vec!["50% of_delta"]),
        (LogQuery { start: Some(at(20)), end: Some(at(40)), ..all() }, vec!["50% of_delta", "gamma", "beta"]),
        (LogQuery { start: Some(at(41)), ..all() }, vec!["ALPHA"]),
        (LogQuery { end: Some(at(9)), ..all() }, vec![]),
        (LogQuery { trace_id: Some(trace_id(9)), ..all() }, vec![]),
    ];
    for (query, expected) in queries {
        assert_eq!(store.logs(query.clone()).await, expected, "{query:?}");
    }
    store
        .write([severe(Severity::Debug, "d"), severe(Severity::Error, "e"), severe(Severity::Critical, "f")])
        .await;
    let at_least = |severity| LogQuery { min_severity: Some(severity), end: Some(at(0)), ..all() };
    assert_eq!(store.logs(at_least(Severity::Verbose)).await, ["f", "e", "d"]);
    assert_eq!(store.logs(at_least(Severity::Error)).await, ["f", "e"]);
    assert_eq!(store.logs(at_least(Severity::Critical)).await, ["f"]);
}

/// A span event that came by OTLP is among the logs, except in queries for a severity.
pub async fn a_span_event_has_no_severity(store: &mut TestStore) {
    let body = LogBody::SpanEvent { name: "exception".into() };
    let event = LogRecord { body, ..log_record(EventContext::Span(key(1, 1)), 0, "") };
    store.write([Signal::Log(Arc::new(event)), log(EventContext::None, 1, "log")]).await;
    assert_eq!(store.logs(all()).await, ["log", "exception"]);
    assert_eq!(store.logs(LogQuery { min_severity: Some(Severity::Verbose), ..all() }).await, ["log"]);
    assert_eq!(store.logs(LogQuery { contains: Some("except".into()), ..all() }).await, ["exception"]);
}

/// The default is the newest 100 logs. `limit` and `offset` select any other part.
pub async fn limit_and_offset_select_a_part(store: &mut TestStore) {
    store.write((0..130_i64).map(|number| log(EventContext::None, number / 3, number.to_string()))).await;
    let everything: Vec<String> = (0..130).rev().map(|number| number.to_string()).collect();
    assert_eq!(store.logs(all()).await, everything);
    assert_eq!(store.logs(LogQuery::default()).await, everything[..100]);
    let page = |offset, limit| LogQuery { offset, limit: Some(limit), ..LogQuery::default() };
    assert_eq!(store.logs(page(100, 100)).await, everything[100..]);
    assert_eq!(store.logs(page(64, 1)).await, everything[64..65]);
    assert_eq!(store.logs(page(130, u64::MAX)).await, Vec::<String>::new());
    assert_eq!(store.logs(page(0, 0)).await, Vec::<String>::new());
}

/// Every field of a log comes back unchanged.
pub async fn a_log_keeps_everything(store: &mut TestStore) {
    let record = LogRecord {
        context: EventContext::Span(key(u128::MAX, u64::MAX)),
        timestamp: Timestamp::from_nanos(at(0).as_nanos() + 123_456_789),
        body: LogBody::Message { severity: Severity::Critical, message: "a\u{0}b\n\u{1b}[31m🦙".into() },
        attributes: attrs! {
            "s" => "x", "n" => i64::MIN, "f" => 7.0, "b" => true, "z" => Value::Null, "__k" => "", "a.b\"c" => 1e-300,
        },
        service_name: Some("other".into()),
        arrived: at(1),
        ttl: crate::signals::long(),
    };
    store.write([Signal::Log(Arc::new(record.clone()))]).await;
    let found = collect(store.trace_store().query_logs(all())).await;
    assert_eq!(found.expect("an answer"), [record]);
}
