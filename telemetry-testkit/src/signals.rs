//! Short functions that create small signals for tests.

use std::sync::Arc;

use telemetry_core::{
    Attributes, EventContext, LogBody, LogRecord, MetricPoint, MetricValue, Severity, Signal, Span, SpanId,
    SpanKey, SpanState, SpanStatus, Text, Timestamp, TraceId, Ttl, WaitingEnd,
};

/// 2026-03-01T12:00:00Z, where [`at`] starts to count.
const EPOCH: i64 = 1_772_366_400_000_000_000;

/// Returns the time this many milliseconds after 2026-03-01T12:00:00Z.
pub const fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_nanos(EPOCH + milliseconds * 1_000_000)
}

/// Returns the longest time to live, so that nothing expires while a test runs.
pub fn long() -> Ttl {
    Ttl::from_seconds(u64::MAX).unwrap_or_default()
}

/// Returns the trace id with this number.
///
/// # Panics
///
/// If a number is zero.
pub fn trace_id(number: u128) -> TraceId {
    TraceId::from_u128(number).expect("ids in tests are not zero")
}

/// Returns the span id with this number.
///
/// # Panics
///
/// If a number is zero.
pub fn span_id(number: u64) -> SpanId {
    SpanId::from_u64(number).expect("ids in tests are not zero")
}

/// Returns the key of a span.
///
/// # Panics
///
/// If a number is zero.
pub fn key(trace: u128, span: u64) -> SpanKey {
    SpanKey::new(trace_id(trace), span_id(span))
}

/// Returns an open root span that started at `start`, in milliseconds as for [`at`].
pub fn open_span(trace: u128, span: u64, start: i64) -> Span {
    Span { ttl: long(), ..Span::open(key(trace, span), "span", at(start)) }
}

/// Returns a root span from `start` to `end` with status ok.
pub fn span(trace: u128, span: u64, start: i64, end: i64) -> Span {
    Span {
        end_time: Some(at(end)),
        status: Some(SpanStatus::Ok),
        state: SpanState::Ended,
        arrived: at(end),
        ..open_span(trace, span, start)
    }
}

/// Returns a span from `start` to `end` with a parent and status ok.
pub fn child(trace: u128, id: u64, parent: u64, start: i64, end: i64) -> Span {
    Span { parent_span_id: Some(span_id(parent)), ..span(trace, id, start, end) }
}

/// Returns the signal that a span has started.
pub fn started(span: Span) -> Signal {
    Signal::SpanStarted(Arc::new(span))
}

/// Returns the signal that a span has ended.
pub fn ended(span: Span) -> Signal {
    Signal::SpanEnded(Arc::new(span))
}

/// Returns the signal of an end whose start is unknown.
pub fn end_waiting(trace: u128, span: u64, end: i64, attributes: Attributes) -> Signal {
    Signal::EndWaiting(Arc::new(WaitingEnd {
        key: key(trace, span),
        end_time: at(end),
        status: SpanStatus::Ok,
        attributes,
        arrived: at(end),
        ttl: long(),
    }))
}

/// Returns a log of severity info at `time`.
pub fn log_record(context: EventContext, time: i64, message: impl Into<Text>) -> LogRecord {
    LogRecord {
        context,
        timestamp: at(time),
        body: LogBody::Message { severity: Severity::Info, message: message.into() },
        attributes: Attributes::default(),
        service_name: None,
        arrived: at(time),
        ttl: long(),
    }
}

/// Returns the signal of a [`log_record`].
pub fn log(context: EventContext, time: i64, message: impl Into<Text>) -> Signal {
    Signal::Log(Arc::new(log_record(context, time, message)))
}

/// Returns a metric point at `time` in the unit `1`.
pub fn metric_point(
    name: impl Into<Text>,
    value: impl Into<MetricValue>,
    time: i64,
    labels: Attributes,
) -> MetricPoint {
    MetricPoint {
        context: EventContext::None,
        timestamp: at(time),
        name: name.into(),
        value: value.into(),
        unit: Text::Borrowed("1"),
        kind: None,
        attributes: labels,
        service_name: None,
        arrived: at(time),
        ttl: long(),
        stream: None,
    }
}

/// Returns the signal of a [`metric_point`].
pub fn metric(name: impl Into<Text>, value: impl Into<MetricValue>, time: i64, labels: Attributes) -> Signal {
    Signal::Metric(Arc::new(metric_point(name, value, time, labels)))
}
