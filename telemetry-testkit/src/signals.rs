//! Short forms for the smallest signals of a test.

use std::sync::Arc;

use telemetry_core::{
    Attributes, EventContext, LogBody, LogRecord, MetricPoint, MetricValue, Severity, Signal, Span, SpanId,
    SpanKey, SpanState, SpanStatus, Text, Timestamp, TraceId, Ttl, WaitingEnd,
};

/// 2026-03-01T12:00:00Z: the second that [`at`] counts from.
const EPOCH: i64 = 1_772_366_400_000_000_000;

/// A time, this many milliseconds after 2026-03-01T12:00:00Z.
pub const fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_nanos(EPOCH + milliseconds * 1_000_000)
}

/// The longest time to live: nothing expires while a test runs.
pub fn long() -> Ttl {
    Ttl::from_seconds(u64::MAX).unwrap_or_default()
}

/// A trace's id.
///
/// # Panics
///
/// For zero.
pub fn trace_id(number: u128) -> TraceId {
    TraceId::from_u128(number).expect("a test's ids are not zero")
}

/// A span's id.
///
/// # Panics
///
/// For zero.
pub fn span_id(number: u64) -> SpanId {
    SpanId::from_u64(number).expect("a test's ids are not zero")
}

/// A span's key.
///
/// # Panics
///
/// For zero.
pub fn key(trace: u128, span: u64) -> SpanKey {
    SpanKey::new(trace_id(trace), span_id(span))
}

/// A root span that runs since `start` milliseconds; see [`at`].
pub fn open_span(trace: u128, span: u64, start: i64) -> Span {
    Span { ttl: long(), ..Span::open(key(trace, span), "span", at(start)) }
}

/// A root span from `start` to `end`, ended well.
pub fn span(trace: u128, span: u64, start: i64, end: i64) -> Span {
    Span {
        end_time: Some(at(end)),
        status: Some(SpanStatus::Ok),
        state: SpanState::Ended,
        arrived: at(end),
        ..open_span(trace, span, start)
    }
}

/// A span below another from `start` to `end`, ended well.
pub fn child(trace: u128, id: u64, parent: u64, start: i64, end: i64) -> Span {
    Span { parent_span_id: Some(span_id(parent)), ..span(trace, id, start, end) }
}

/// The start of a span.
pub fn started(span: Span) -> Signal {
    Signal::SpanStarted(Arc::new(span))
}

/// A whole span.
pub fn ended(span: Span) -> Signal {
    Signal::SpanEnded(Arc::new(span))
}

/// An end without its start.
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

/// A log line at `time` that says `message`.
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

/// A log line as a signal.
pub fn log(context: EventContext, time: i64, message: impl Into<Text>) -> Signal {
    Signal::Log(Arc::new(log_record(context, time, message)))
}

/// A measurement at `time`, in the unit `1`.
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

/// A measurement as a signal.
pub fn metric(name: impl Into<Text>, value: impl Into<MetricValue>, time: i64, labels: Attributes) -> Signal {
    Signal::Metric(Arc::new(metric_point(name, value, time, labels)))
}
