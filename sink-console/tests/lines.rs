//! The exact lines that the console writes.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use sink_console::format::to_text;
use sink_console::json::to_json_line;
use sink_console::{Color, Config, ConsoleSink, Format};
use telemetry_core::{
    Action, EventContext, LogBody, LogRecord, MetricKind, MetricPoint, OptionValue, Options, RunId, Severity,
    Signal, SignalSet, SinkContext, Span, SpanKind, SpanState, SpanStatus, Value, attrs,
};
use telemetry_testkit::signals::{
    at, child, end_waiting, ended, key, log, log_record, metric, metric_point, open_span, span, started,
};
use telemetry_testkit::{Driver, block_on};

fn text(signal: &Signal) -> String {
    to_text(signal, false)
}

fn severe(severity: Severity) -> Signal {
    let body = LogBody::Message { severity, message: "m".into() };
    Signal::Log(Arc::new(LogRecord { body, ..log_record(EventContext::None, 7, "") }))
}

#[test]
fn a_start_is_a_line_with_its_attributes_beneath() {
    let span =
        Span { attributes: attrs! { "a" => 1, "f" => 7.0, "n" => Value::Null }, ..open_span(1, 1, 1_234) };
    assert_eq!(text(&started(span)), "12:00:01.234 [START] span\n    a: 1\n    f: 7.0\n    n: null\n");
}

#[test]
fn an_end_shows_its_status_and_duration() {
    assert_eq!(text(&ended(span(1, 1, 0, 12))), "12:00:00.012 [END] span (12.00ms)\n");
    let nanos = telemetry_core::Timestamp::from_nanos(at(0).as_nanos() + 12_341_000);
    let failed = Span { status: Some(SpanStatus::Error), end_time: Some(nanos), ..span(1, 1, 0, 0) };
    assert_eq!(text(&ended(failed)), "12:00:00.012 [END] span [ERROR] (12.34ms)\n");
}

#[test]
fn an_unfinished_span_is_marked() {
    let evicted = Span { state: SpanState::Unfinished, arrived: at(9), ..open_span(1, 1, 0) };
    assert_eq!(text(&ended(evicted)), "12:00:00.009 [END] span [UNFINISHED]\n");
    let nameless = Span { state: SpanState::Unfinished, name: "".into(), ..span(1, 0xab, 5, 5) };
    assert_eq!(text(&ended(nameless)), "12:00:00.005 [END] span 00000000000000ab [UNFINISHED]\n");
}

#[test]
fn a_log_shows_its_severity() {
    let lines: Vec<String> = Severity::ALL.iter().map(|severity| text(&severe(*severity))).collect();
    let expected = ["VERBOSE", "DEBUG", "INFO", "WARN", "ERROR", "CRITICAL"];
    assert_eq!(lines, expected.map(|tag| format!("12:00:00.007 [{tag}] m\n")));
    let body = LogBody::SpanEvent { name: "exception".into() };
    let event =
        LogRecord { body, attributes: attrs! { "type" => "E" }, ..log_record(EventContext::None, 7, "") };
    assert_eq!(text(&Signal::Log(Arc::new(event))), "12:00:00.007 [EVENT] exception\n    type: E\n");
}

#[test]
fn a_metric_is_one_line_with_its_labels() {
    assert_eq!(text(&metric("load", 0.5, 0, attrs! {})), "12:00:00.000 [METRIC] load=0.5 1\n");
    let labels = attrs! { "model_id" => "llama", "__x" => 1, "shard" => 7 };
    let point = MetricPoint { unit: "tokens".into(), ..metric_point("prompt_tokens", 42, 0, labels) };
    assert_eq!(
        text(&Signal::Metric(Arc::new(point))),
        "12:00:00.000 [METRIC] prompt_tokens=42 tokens {model_id=llama, shard=7}\n"
    );
    let bare = MetricPoint { unit: "".into(), ..metric_point("n", 1.0, 0, attrs! {}) };
    assert_eq!(text(&Signal::Metric(Arc::new(bare))), "12:00:00.000 [METRIC] n=1.0\n");
}

#[test]
fn hidden_keys_are_not_shown_and_long_values_are_cut() {
    let attributes = attrs! { "__root__" => true, "long" => "x".repeat(1_001) };
    let lines = text(&started(Span { attributes, ..open_span(1, 1, 0) }));
    assert_eq!(lines, format!("12:00:00.000 [START] span\n    long: {}...\n", "x".repeat(997)));
}

#[test]
fn no_text_can_control_the_terminal() {
    let evil = "\u{1b}]0;x\u{7}\r\n\u{9b}2J";
    let attributes = || attrs! { evil => evil };
    let name = || evil.into();
    let record = LogRecord { attributes: attributes(), ..log_record(EventContext::None, 0, evil) };
    let point = MetricPoint { unit: name(), ..metric_point(evil, 1, 0, attributes()) };
    let signals = [
        started(Span { name: name(), attributes: attributes(), ..open_span(1, 1, 0) }),
        ended(Span { name: name(), attributes: attributes(), ..span(1, 1, 0, 1) }),
        Signal::Log(Arc::new(record)),
        Signal::Metric(Arc::new(point)),
    ];
    for signal in signals {
        for printed in [text(&signal), to_json_line(&signal)] {
            let unsafe_ones: Vec<char> = printed.chars().filter(|c| c.is_control() && *c != '\n').collect();
            assert_eq!(unsafe_ones, [], "{printed}");
        }
        assert_eq!(to_json_line(&signal).lines().count(), 1);
    }
    assert_eq!(
        text(&log(EventContext::None, 0, evil)),
        "12:00:00.000 [INFO] \\u{1b}]0;x\\u{7}\\r\\n\\u{9b}2J\n"
    );
}

#[test]
fn colours_surround_the_time_the_tag_and_the_attributes() {
    let log = LogRecord { attributes: attrs! { "a" => 1 }, ..log_record(EventContext::None, 0, "hello") };
    assert_eq!(
        to_text(&Signal::Log(Arc::new(log)), true),
        "\x1b[2m12:00:00.000\x1b[0m \x1b[34m[INFO]\x1b[0m hello\n    \x1b[2ma: 1\x1b[0m\n"
    );
}

#[test]
fn an_end_without_a_start_is_not_shown() {
    assert_eq!(text(&end_waiting(1, 1, 0, attrs! {})), "");
    assert_eq!(to_json_line(&end_waiting(1, 1, 0, attrs! {})), "");
}

#[test]
fn json_has_an_object_per_signal() {
    let whole = Span {
        kind: SpanKind::Server,
        status: Some(SpanStatus::Error),
        service_name: Some("other".into()),
        attributes: attrs! { "n" => 7, "f" => 7.0, "__hidden" => 1, "z" => Value::Null },
        trace_state: Some("a=1".into()),
        dropped_events_count: 2,
        ..child(0xa, 0xb, 0xc, 0, 1_500)
    };
    let expected = concat!(
        r#"{"type":"span_end","timestamp":"2026-03-01T12:00:01.500000Z","trace_id":"0000000000000000000000000000000a","#,
        r#""span_id":"000000000000000b","parent_span_id":"000000000000000c","name":"span","kind":"server","#,
        r#""trace_state":"a=1","dropped_events_count":2,"start_time":"2026-03-01T12:00:00Z","status":"error","#,
        r#""duration_ms":1500.0,"service_name":"other","attributes":{"n":7,"f":7.0,"z":null}}"#,
        "\n"
    );
    assert_eq!(to_json_line(&ended(whole)), expected);
    let expected = concat!(
        r#"{"type":"span_start","timestamp":"2026-03-01T12:00:00Z","trace_id":"0000000000000000000000000000000a","#,
        r#""span_id":"000000000000000b","parent_span_id":null,"name":"span","kind":"internal","attributes":{}}"#,
        "\n"
    );
    assert_eq!(to_json_line(&started(open_span(0xa, 0xb, 0))), expected);
    let kind = Some(MetricKind::Gauge);
    let point =
        MetricPoint { kind, context: EventContext::Span(key(1, 2)), ..metric_point("m", 1, 0, attrs! {}) };
    let expected = concat!(
        r#"{"type":"metric","timestamp":"2026-03-01T12:00:00Z","trace_id":"00000000000000000000000000000001","#,
        r#""span_id":"0000000000000002","metric":"m","value":1,"unit":"1","kind":"gauge","attributes":{}}"#,
        "\n"
    );
    assert_eq!(to_json_line(&Signal::Metric(Arc::new(point))), expected);
}

/// Accepts a number of bytes, then fails.
struct Short {
    left: usize,
    kind: io::ErrorKind,
}

impl Write for Short {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.left);
        self.left -= taken;
        if taken == 0 { Err(self.kind.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_broken_pipe_closes_the_sink_without_a_panic() {
    let out = Short { left: 40, kind: io::ErrorKind::BrokenPipe };
    let mut driver = Driver::new(ConsoleSink::new(out, Config::default(), false).built());
    let line = log(EventContext::None, 0, "hello");
    let error = block_on(driver.write(vec![line.clone(), line.clone(), line])).unwrap_err();
    assert_eq!(error.action(), Action::Close);
    assert_eq!(error.full_text(), "the console is closed: broken pipe");
    assert_eq!(error.stored_signals(), 2, "one complete and one begun");
    assert!(block_on(driver.shutdown()).is_err());
}

/// A buffer that the test can read.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no test panics while it writes").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn json_is_never_coloured() {
    let config = Config { format: Format::Json, color: Color::Always, ..Config::default() };
    let out = Shared::default();

    let mut driver = Driver::new(ConsoleSink::new(out.clone(), config, true).built());
    let line = log(EventContext::None, 0, "hello");
    block_on(driver.write(vec![line.clone()])).unwrap();
    assert_eq!(String::from_utf8(out.0.lock().unwrap().clone()).unwrap(), to_json_line(&line));
}

#[test]
fn the_entry_builds_with_every_choice() {
    for stream in ["stderr", "stdout"] {
        for format in ["text", "json"] {
            let text = |text: &str| OptionValue::Text(text.to_owned());
            let options = Options::from_pairs([("stream", text(stream)), ("format", text(format))]);
            let context = SinkContext { service_name: "test".into(), options, run: RunId(1) };
            let built = block_on((sink_console::ENTRY.build)(&context)).expect("the options are good");
            assert!(!built.interest.contains(SignalSet::END_WAITING) && built.store.is_none());
            block_on(Driver::new(built).shutdown()).expect("nothing to flush");
        }
    }
}
