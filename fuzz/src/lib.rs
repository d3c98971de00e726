//! What is done with each input, by the fuzz targets and by the ordinary test that replays the corpus.
//! Nothing may panic; the assertions are what holds of every input.

use telemetry_core::wire::{
    Problems, parse, read_event_batch, read_event_body, read_export, read_log_query, read_metric_query,
    read_span_query, read_trace_query, read_tree_query,
};
use telemetry_core::{Registry, SpanId, Timestamp};
use telemetry_provider::{Config, Variables};
use telemetry_server::{OtlpEncoding, OtlpSignal, read_otlp};

/// The body of `POST /events`.
pub fn event(input: &[u8]) {
    let Ok(body) = parse(input) else { return };
    let mut problems = Problems::default();
    let read = read_event_body(&body, &mut problems);
    assert_eq!(read.is_none(), !problems.is_empty(), "refused without a reason, or kept in spite of one");
    let mut problems = Problems::default();
    if let Some(batch) = read_event_batch(&body, &mut problems) {
        let sent = body["events"].as_array().map_or(0, Vec::len);
        assert_eq!(batch.events.len() + batch.rejected.len(), sent, "every event is kept or rejected");
        assert!(batch.rejected.iter().all(|rejected| !rejected.errors.is_empty()));
    }
}

/// The body of every query.
pub fn query(input: &[u8]) {
    let Ok(body) = parse(input) else { return };
    let explained = |read: &dyn Fn(&mut Problems) -> bool| {
        let mut problems = Problems::default();
        assert_eq!(
            read(&mut problems),
            problems.is_empty(),
            "refused without a reason, or the other way round"
        );
    };
    explained(&|problems| read_trace_query(&body, problems).is_some());
    explained(&|problems| read_span_query(&body, problems).is_some());
    explained(&|problems| read_export(&body, problems).is_some());
    explained(&|problems| read_log_query(&body, problems).is_some());
    let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
    explained(&|problems| read_metric_query("m", &body, now, problems).is_some());
    if let Ok(span_id) = "1".parse::<SpanId>() {
        explained(&|problems| read_tree_query(span_id, &body, problems).is_some());
    }
}

/// An OTLP request. The first byte says which, so that an editor shows it: `0`, `1`, `2` are traces, metrics, logs
/// in protobuf, `3`, `4`, `5` the same in JSON.
pub fn otlp(input: &[u8]) {
    const LIMIT: usize = 1 << 20;
    let Some((selector, body)) = input.split_first() else { return };
    let (signal, encoding) = match selector % 6 {
        0 => (OtlpSignal::Traces, OtlpEncoding::Protobuf),
        1 => (OtlpSignal::Metrics, OtlpEncoding::Protobuf),
        2 => (OtlpSignal::Logs, OtlpEncoding::Protobuf),
        3 => (OtlpSignal::Traces, OtlpEncoding::Json),
        4 => (OtlpSignal::Metrics, OtlpEncoding::Json),
        _ => (OtlpSignal::Logs, OtlpEncoding::Json),
    };
    let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
    match read_otlp(signal, encoding, body, LIMIT, now) {
        Ok(read) => assert_eq!(read.rejected == 0, read.reasons.is_empty(), "rejected without a reason"),
        Err(refusal) => assert!(!refusal.is_empty(), "refused without a reason"),
    }
}

/// A configuration file.
pub fn config(input: &[u8]) {
    let (Ok(text), Ok(registry)) = (std::str::from_utf8(input), Registry::from_entries([])) else { return };
    let environment = Variables::from([("HOME", "/home/u"), ("X", "1"), ("SECRET", "hush-hush")]);
    if let Err(error) = Config::from_yaml(text, &registry, &environment) {
        assert!(!error.to_string().contains("hush-hush"), "a message shows the value of a variable");
    }
}
