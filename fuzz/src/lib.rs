//! What each fuzz target does with its input. An ordinary test replays the corpus with the same functions.
//!
//! No input may cause a panic. The assertions hold for every input.

use telemetry_core::wire::{
    Problems, parse, read_event_batch, read_event_body, read_export, read_log_query, read_metric_query,
    read_span_query, read_trace_query, read_tree_query,
};
use telemetry_core::{Registry, SpanId, Timestamp};
use telemetry_otlp::{Encoding, OtlpSignal, Streams, decode};
use telemetry_provider::{Config, Variables};

/// Parses the body of `POST /events`.
pub fn event(input: &[u8]) {
    let Ok(body) = parse(input) else { return };
    let mut problems = Problems::default();
    let read = read_event_body(&body, &mut problems);
    assert_eq!(
        read.is_none(),
        !problems.is_empty(),
        "rejected without a reason, or accepted in spite of one"
    );
    let mut problems = Problems::default();
    if let Some(batch) = read_event_batch(&body, &mut problems) {
        let sent = body["events"].as_array().map_or(0, Vec::len);
        assert_eq!(batch.events.len() + batch.rejected.len(), sent, "every event is accepted or rejected");
        assert!(batch.rejected.iter().all(|rejected| !rejected.errors.is_empty()));
    }
}

/// Parses the body of every query.
pub fn query(input: &[u8]) {
    let Ok(body) = parse(input) else { return };
    let check = |read: &dyn Fn(&mut Problems) -> bool| {
        let mut problems = Problems::default();
        assert_eq!(
            read(&mut problems),
            problems.is_empty(),
            "rejected without a reason, or accepted in spite of one"
        );
    };
    check(&|problems| read_trace_query(&body, problems).is_some());
    check(&|problems| read_span_query(&body, problems).is_some());
    check(&|problems| read_export(&body, problems).is_some());
    check(&|problems| read_log_query(&body, problems).is_some());
    let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
    check(&|problems| read_metric_query("m", &body, now, problems).is_some());
    if let Ok(span_id) = "1".parse::<SpanId>() {
        check(&|problems| read_tree_query(span_id, &body, problems).is_some());
    }
}

/// Decodes an OTLP request. The first byte chooses its kind and is a printable digit: `0`, `1`, `2` are traces,
/// metrics and logs in protobuf, `3`, `4`, `5` are the same in JSON.
pub fn otlp(input: &[u8]) {
    const MAX_BODY_BYTES: usize = 1 << 20;
    let Some((selector, body)) = input.split_first() else { return };
    let (signal, encoding) = match selector % 6 {
        0 => (OtlpSignal::Traces, Encoding::Protobuf),
        1 => (OtlpSignal::Metrics, Encoding::Protobuf),
        2 => (OtlpSignal::Logs, Encoding::Protobuf),
        3 => (OtlpSignal::Traces, Encoding::Json),
        4 => (OtlpSignal::Metrics, Encoding::Json),
        _ => (OtlpSignal::Logs, Encoding::Json),
    };
    let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
    match decode(signal, encoding, body, MAX_BODY_BYTES, now) {
        Ok(decoded) => {
            let rejections = decoded.rejections;
            assert_eq!(rejections.count() == 0, rejections.message().is_empty(), "rejected without a reason");
            let mut streams = Streams::default();
            let increments = streams.increments(decoded.cumulative, true);
            streams.stored(increments);
        }
        Err(error) => assert!(!error.to_string().is_empty(), "rejected without a reason"),
    }
}

/// Parses a configuration file.
pub fn config(input: &[u8]) {
    let (Ok(text), Ok(registry)) = (std::str::from_utf8(input), Registry::from_entries([])) else { return };
    let environment = Variables::from([("HOME", "/home/u"), ("X", "1"), ("SECRET", "hush-hush")]);
    if let Err(error) = Config::from_yaml(text, &registry, &environment) {
        assert!(!error.to_string().contains("hush-hush"), "the message contains the value of a variable");
    }
}
