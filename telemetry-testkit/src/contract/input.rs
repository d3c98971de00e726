//! The signals that the cases write.

use std::ops::Range;
use std::sync::Arc;

use telemetry_core::{
    Attributes, EventContext, LogBody, LogRecord, MetricPoint, MetricValue, Severity, Signal, Span,
    SpanEvent, SpanKind, SpanStatus, Timestamp, Value, attrs,
};

use crate::signals::{at, child, ended, key, log_record, long, metric_point, open_span, span, started};

/// Returns all signals of one span, in order: its start, a log, a metric point, its end.
///
/// Each contains `number`. The times are the same for every number, so that only the order of arrival can show
/// which came first.
pub(super) fn one_span(number: u32) -> Vec<Signal> {
    let trace = u128::from(number) + 1;
    let context = EventContext::Span(key(trace, 1));
    let name = format!("span {number}");
    let labels = attrs! { "number" => number };
    let log = log_record(context, 5, format!("log {number}"));
    let point = MetricPoint { context, ..metric_point("kit_metric", number, 5, labels) };
    vec![
        started(Span { name: name.clone().into(), ..open_span(trace, 1, 0) }),
        Signal::Log(Arc::new(log)),
        Signal::Metric(Arc::new(point)),
        ended(Span { name: name.into(), ..span(trace, 1, 0, 10) }),
    ]
}

/// Returns the signals of several spans, one span after the other.
pub(super) fn spans(numbers: Range<u32>) -> Vec<Signal> {
    numbers.flat_map(one_span).collect()
}

/// Returns [`one_span`] with an end that lists the log and the metric point again, as the pipeline's spans do.
pub(super) fn one_span_with_events(number: u32) -> Vec<Signal> {
    let mut signals = one_span(number);
    let events = signals.iter().filter_map(|signal| match signal {
        Signal::Log(log) => Some(SpanEvent::Log(Arc::clone(log))),
        Signal::Metric(point) => Some(SpanEvent::Metric(Arc::clone(point))),
        _ => None,
    });
    let events = events.collect();
    if let Some(Signal::SpanEnded(span)) = signals.last_mut() {
        *span = Arc::new(Span { events, ..Span::clone(span) });
    }
    signals
}

/// Returns attributes of every type, with unusual keys and values.
fn odd_attributes() -> Attributes {
    attrs! {
        "string" => "text",
        "int" => 7,
        "float" => 7.0,
        "true" => true,
        "false" => false,
        "null" => Value::Null,
        "empty" => "",
        "least" => i64::MIN,
        "most" => i64::MAX,
        "tiny" => f64::MIN_POSITIVE,
        "huge" => -f64::MAX,
        "third" => 1.0 / 3.0,
        "negative nothing" => -0.0,
        "a.b[0]\"'\\" => "a key with punctuation",
        "ключ 鍵 🔑" => "значение 値 🦙 e\u{301}",
        "control" => "\u{0}\u{1}\t\r\n\u{1b}[31m\u{7f}\u{9b}\u{202e}\u{2028}end",
        "\n" => "a key of a newline",
        "looks like json" => r#"{"a":[1,2]}"#,
        "looks like a number" => "7",
        "__hidden__" => true,
    }
}

/// Returns signals that are hard to carry: unusual attributes, a megabyte of text, extreme ids, times and numbers.
pub(super) fn edge_cases() -> Vec<Signal> {
    let largest = (u128::MAX, u64::MAX);
    // One byte, then characters of four: a cut at any power of two breaks a character.
    let megabyte = format!("-{}", "\u{1f999}".repeat(1 << 18));
    let odd = Span {
        name: "näme \u{1b}[31m\n\"quoted\" 🦙".into(),
        kind: SpanKind::Client,
        status: Some(SpanStatus::Error),
        attributes: odd_attributes(),
        ..child(largest.0, largest.1, 1 << 63, 0, 10)
    };
    let ended_spans = [
        odd,
        Span { attributes: attrs! { "long" => megabyte.clone() }, status: None, ..span(1, 1, 0, 0) },
        Span {
            start_time: Timestamp::from_nanos(i64::MIN),
            end_time: Some(Timestamp::from_nanos(i64::MAX)),
            ..span(2, 1, 0, 0)
        },
        Span {
            start_time: Timestamp::from_nanos(at(0).as_nanos() + 1),
            end_time: Some(Timestamp::from_nanos(at(0).as_nanos() + 123_456_789)),
            service_name: Some("another service".into()),
            ..span(3, 1, 0, 0)
        },
    ];
    let mut signals = Vec::new();
    for span in ended_spans {
        let open = Span {
            end_time: None,
            status: None,
            ..Span::open(span.key(), span.name.clone(), span.start_time)
        };
        signals.push(started(Span { arrived: at(0), ttl: long(), ..open }));
        let context = EventContext::Span(span.key());
        let log = LogRecord {
            timestamp: span.start_time,
            body: LogBody::Message { severity: Severity::Critical, message: span.name.clone() },
            attributes: span.attributes.clone(),
            ..log_record(context, 0, "")
        };
        signals.push(Signal::Log(Arc::new(log)));
        signals.push(ended(span));
    }
    let context = EventContext::Span(key(largest.0, largest.1));
    signals.push(Signal::Log(Arc::new(log_record(context, 0, megabyte))));
    for context in [EventContext::None, EventContext::Trace(key(u128::MAX, 1).trace_id), context] {
        let log = LogRecord {
            body: LogBody::Message { severity: Severity::Verbose, message: "".into() },
            timestamp: Timestamp::from_nanos(i64::MAX),
            ..log_record(context, 0, "")
        };
        let point = MetricPoint {
            context,
            timestamp: Timestamp::from_nanos(i64::MIN),
            ..metric_point("kit_metric", 1, 0, attrs! {})
        };
        signals.extend([Signal::Log(Arc::new(log)), Signal::Metric(Arc::new(point))]);
    }
    let values: [MetricValue; 6] =
        [i64::MAX.into(), i64::MIN.into(), 0.0.into(), 0.1.into(), f64::MAX.into(), f64::MIN_POSITIVE.into()];
    for value in values {
        let labels = attrs! { "model.id \"é\"" => "a\nb", "shard" => 7 };
        let point =
            MetricPoint { context, unit: "µs".into(), ..metric_point("näme.of metric", value, 0, labels) };
        signals.push(Signal::Metric(Arc::new(point)));
    }
    signals
}
