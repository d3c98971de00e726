//! Random signals and questions.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use telemetry_core::query::{
    Aggregation, Filter, FilterOp, LabelMatcher, LogQuery, MatcherOp, MetricQuery, Order, OrderColumn,
    QueryType, SpanQuery, TraceQuery, TreeQuery,
};
use telemetry_core::{
    Attributes, EventContext, LogBody, LogRecord, MetricPoint, MetricValue, Severity, Signal, Span, SpanId,
    SpanKey, SpanKind, SpanState, SpanStatus, Text, Timestamp, TraceId, Value, WaitingEnd,
};

use super::question::Question;
use crate::signals::{at, long, span_id, trace_id};

/// Attribute keys. There are few keys, ids, times and values, so that signals and questions often match.
const KEYS: &[&str] = &["a", "b", "a.b", "quo\"te", "[0]", "ключ", "name", "status", "duration_ms", "__x"];
const METRICS: &[(&str, bool)] = &[
    ("requests", true),
    ("load", false),
    ("prompt_tokens", true),
    ("llama_stack_prompt_tokens_total", true),
];

fn any_trace() -> impl Strategy<Value = TraceId> {
    (1..5_u128).prop_map(trace_id)
}

fn any_span_id() -> impl Strategy<Value = SpanId> {
    prop_oneof![9 => 1..6_u64, 1 => Just(u64::MAX)].prop_map(span_id)
}

fn any_key() -> impl Strategy<Value = SpanKey> {
    (any_trace(), any_span_id()).prop_map(|(trace, span)| SpanKey::new(trace, span))
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    (0..40_i64).prop_map(|step| at(step * 250))
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        select(vec!["", "x", "7", "true", "Zebra", "näme", "ok"]).prop_map(Value::from),
        select(vec![0, 7, -7, i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1]).prop_map(Value::from),
        select(vec![0.0, -0.0, 7.0, 7.5, -1e300, 9_007_199_254_740_992.0]).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ]
}

fn any_attributes() -> impl Strategy<Value = Attributes> {
    vec((select(KEYS), any_value()), 0..4).prop_map(|pairs| {
        let mut attributes = Attributes::default();
        for (key, value) in pairs {
            // `merge` replaces an earlier value: a set of attributes has each key once.
            attributes.merge(Attributes::from([(Text::Borrowed(key), value)]));
        }
        attributes
    })
}

fn any_context() -> impl Strategy<Value = EventContext> {
    prop_oneof![
        1 => Just(EventContext::None),
        1 => any_trace().prop_map(EventContext::Trace),
        3 => any_key().prop_map(EventContext::Span),
    ]
}

fn any_span() -> impl Strategy<Value = Span> {
    let ids = (any_key(), option::of(any_span_id()));
    let times = (any_time(), 0..8_i64);
    let rest = (
        select(vec!["chat", "", "embed"]),
        select(SpanKind::ALL),
        option::of(select(vec!["other", "b"])),
        option::of(select(SpanStatus::ALL)),
        any_attributes(),
    );
    (ids, times, rest).prop_map(
        |((key, parent), (start, length), (name, kind, service, status, attributes))| Span {
            parent_span_id: parent,
            kind,
            service_name: service.map(Into::into),
            end_time: Some(Timestamp::from_nanos(start.as_nanos() + length * 100_000_000)),
            status,
            attributes,
            state: SpanState::Ended,
            ttl: long(),
            arrived: at(20_000),
            ..Span::open(key, name, start)
        },
    )
}

/// Generates a signal about a span: its start, the ended span, a start whose end never came, or an end alone.
fn any_span_signal() -> impl Strategy<Value = Signal> {
    (any_span(), 0..8_u8).prop_map(|(span, form)| match form {
        0..3 => Signal::SpanStarted(Arc::new(as_open(span, SpanState::Open))),
        3..6 => Signal::SpanEnded(Arc::new(span)),
        6 => Signal::SpanEnded(Arc::new(as_open(span, SpanState::Unfinished))),
        _ => Signal::EndWaiting(Arc::new(WaitingEnd {
            key: span.key(),
            end_time: span.end_time.unwrap_or(span.start_time),
            status: span.status.unwrap_or(SpanStatus::Ok),
            attributes: span.attributes,
            arrived: span.arrived,
            ttl: span.ttl,
        })),
    })
}

fn as_open(span: Span, state: SpanState) -> Span {
    Span { end_time: None, status: None, state, ..span }
}

fn any_log() -> impl Strategy<Value = Signal> {
    let body = prop_oneof![
        4 => (select(Severity::ALL), select(vec!["hello", "100%", "a_b", "Hello", ""]))
            .prop_map(|(severity, message)| LogBody::Message { severity, message: message.into() }),
        1 => select(vec!["exception", "hello"]).prop_map(|name| LogBody::SpanEvent { name: name.into() }),
    ];
    (any_context(), any_time(), body, any_attributes()).prop_map(|(context, timestamp, body, attributes)| {
        Signal::Log(Arc::new(LogRecord {
            context,
            timestamp,
            body,
            attributes,
            service_name: None,
            arrived: at(20_000),
            ttl: long(),
        }))
    })
}

fn any_metric() -> impl Strategy<Value = Signal> {
    let labels = vec((select(vec!["model", "api"]), select(vec!["m1", "m2", "chat"])), 0..3);
    let value = (-5..50_i64, any::<bool>());
    (any_context(), any_time(), select(METRICS), value, labels).prop_map(
        |(context, timestamp, (name, is_integer), (value, in_ms), labels)| {
            let mut attributes = Attributes::default();
            for (label, text) in labels {
                attributes.merge(Attributes::from([(Text::Borrowed(label), Value::from(text))]));
            }
            let value = if is_integer {
                MetricValue::Int(value)
            } else {
                MetricValue::Float(f64::from(i32::try_from(value).unwrap_or_default()) / 4.0)
            };
            Signal::Metric(Arc::new(MetricPoint {
                context,
                timestamp,
                name: Text::Borrowed(name),
                value,
                unit: Text::Borrowed(if in_ms { "ms" } else { "1" }),
                kind: None,
                attributes,
                service_name: None,
                arrived: at(20_000),
                ttl: long(),
                stream: None,
            }))
        },
    )
}

/// Generates up to 40 signals in any order: starts and ends that come twice, late or alone, and logs and metric points
/// of known and unknown spans.
pub fn random_signals() -> impl Strategy<Value = Vec<Signal>> {
    vec(prop_oneof![4 => any_span_signal(), 1 => any_log(), 1 => any_metric()], 0..40)
}

fn any_filters() -> impl Strategy<Value = Vec<Filter>> {
    let keys = [KEYS, &["kind", "service_name", "span_id", "trace_id", "absent"]].concat();
    let filter = (select(keys), select(FilterOp::ALL), any_value());
    vec(filter.prop_map(|(key, op, value)| Filter { key: key.to_owned(), op, value }), 0..3)
}

fn any_limits() -> impl Strategy<Value = (u64, Option<u64>)> {
    (select(vec![0, 0, 1, 5, 1_000]), select(vec![None, Some(0), Some(3), Some(100), Some(u64::MAX)]))
}

fn trace_query() -> impl Strategy<Value = TraceQuery> {
    let order = (select(OrderColumn::ALL), any::<bool>());
    let order = vec(order.prop_map(|(column, descending)| Order { column, descending }), 0..3);
    (any_filters(), order, any_limits()).prop_map(|(filters, order, (offset, limit))| TraceQuery {
        filters,
        order,
        limit,
        offset,
    })
}

fn span_query() -> impl Strategy<Value = SpanQuery> {
    let attributes = vec(select(KEYS).prop_map(str::to_owned), 0..2);
    (any_filters(), attributes, option::of(0..4_u32)).prop_map(|(filters, attributes, max_depth)| SpanQuery {
        filters,
        attributes,
        max_depth,
    })
}

fn log_query() -> impl Strategy<Value = LogQuery> {
    let ids = (option::of(any_trace()), option::of(any_span_id()));
    let severity = option::of(select(Severity::ALL));
    let contains = option::of(select(vec!["hello", "%", "_", ""]).prop_map(str::to_owned));
    let times = (option::of(any_time()), option::of(any_time()));
    (ids, severity, contains, times, any_limits()).prop_map(
        |((trace_id, span_id), min_severity, contains, (start, end), (offset, limit))| LogQuery {
            trace_id,
            span_id,
            min_severity,
            contains,
            start,
            end,
            limit,
            offset,
        },
    )
}

fn metric_query() -> impl Strategy<Value = MetricQuery> {
    let matcher = (
        select(vec!["model", "api", "absent"]),
        select(MatcherOp::ALL),
        select(vec!["m1", "", "m.", "chat|m2", ".*"]),
    );
    let matcher = matcher
        .prop_filter_map("a valid expression", |(name, op, value)| LabelMatcher::new(name, op, value).ok());
    let window = prop_oneof![
        Just((Timestamp::from_nanos(i64::MIN), Timestamp::from_nanos(i64::MAX))),
        (any_time(), any_time()),
    ];
    let granularity = option::of(select(vec!["1s", "5s", "1m", "2w"]));
    (
        select(METRICS),
        window,
        granularity,
        select(QueryType::ALL),
        vec(matcher, 0..2),
        option::of(select(Aggregation::ALL)),
    )
        .prop_map(|((metric, _), (start, end), granularity, query_type, matchers, aggregation)| {
            MetricQuery {
                metric: metric.to_owned(),
                start,
                end,
                granularity: granularity.and_then(|text| text.parse().ok()),
                query_type,
                matchers,
                aggregation,
            }
        })
}

/// Generates a question about signals of [`random_signals`], with unusual keys, limits and windows too.
pub fn random_question() -> impl Strategy<Value = Question> {
    prop_oneof![
        4 => trace_query().prop_map(Question::Traces),
        2 => span_query().prop_map(Question::Spans),
        2 => log_query().prop_map(Question::Logs),
        1 => any_trace().prop_map(Question::Trace),
        1 => any_key().prop_map(Question::Span),
        1 => (any_span_id(), option::of(any_trace()), option::of(0..4_u32)).prop_map(
            |(span_id, trace_id, max_depth)| Question::Tree(TreeQuery { span_id, trace_id, max_depth })
        ),
        2 => metric_query().prop_map(Question::Metrics),
    ]
}
