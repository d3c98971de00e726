//! The rules by which events become signals: one by one, and with random input.

mod bad_input;
mod kept_bytes;
mod sampled;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use telemetry_core::{
    Attributes, Event, EventContext, LogBody, LogRecord, Payload, Recovered, Severity, Signal, SignalSet,
    Span, SpanEvent, SpanId, SpanKey, SpanState, SpanStatus, StructuredLog, Submission, Timestamp, TraceId,
    Ttl, attrs,
};

use super::{Assembler, AssemblerConfig, Sampling};

const TRACE: u128 = 0xa;

fn key(span: u64) -> SpanKey {
    SpanKey::new(TraceId::from_u128(TRACE).unwrap(), SpanId::from_u64(span).unwrap())
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

fn start(span: u64, name: &'static str) -> Event {
    Event::span_start(key(span).trace_id, key(span).span_id, name).at(at(1))
}

fn end(span: u64) -> Event {
    Event::span_end(key(span).trace_id, key(span).span_id, SpanStatus::Ok).at(at(2))
}

fn log(span: u64, message: &'static str) -> Event {
    Event::log(Severity::Info, message).at(at(1)).in_context(EventContext::Span(key(span)))
}

fn assembler() -> Assembler {
    Assembler::new(AssemblerConfig::default(), Recovered::default())
}

fn feed(assembler: &mut Assembler, events: impl IntoIterator<Item = Event>) -> String {
    let mut out = Vec::new();
    for event in events {
        assembler.ingest(Submission::Event { event, ttl: Ttl::default() }, at(0), &mut out);
    }
    render(&out)
}

/// Renders one line per signal.
fn render(signals: &[Signal]) -> String {
    let mut text = String::new();
    for signal in signals {
        let line = match signal {
            Signal::SpanStarted(span) => format!("started {}", describe(span)),
            Signal::SpanEnded(span) => format!("ended {} {:?}", describe(span), span.state),
            Signal::EndWaiting(end) => format!("waiting {:x}", end.key.span_id.as_u64()),
            Signal::Log(log) => format!("log {:x}", log.context.span_id().map_or(0, SpanId::as_u64)),
            Signal::Metric(point) => format!("metric {}", point.name),
            other => format!("{other:?}"),
        };
        writeln!(text, "{line}").unwrap();
    }
    text
}

fn describe(span: &Span) -> String {
    let parent = span.parent_span_id.map_or(0, SpanId::as_u64);
    let end = span.end_time.map_or(-1, Timestamp::as_seconds);
    format!(
        "{:x}/{:x}<{parent:x} `{}` {}..{end} {} {}ev",
        span.trace_id.as_u128(),
        span.span_id.as_u64(),
        span.name,
        span.start_time.as_seconds(),
        span.attributes.to_json(),
        span.events.len()
    )
}

#[test]
fn a_span_has_everything_that_was_logged_of_it() {
    let mut assembler = assembler();
    let events = [
        start(1, "chat").with_attributes(attrs! { "a" => 1, "b" => 1 }),
        log(1, "hello"),
        Event::metric("m", 1, "1").in_context(EventContext::Span(key(1))),
        end(1).with_attributes(attrs! { "b" => 2 }),
    ];
    let expected = r#"
started a/1<0 `chat` 1..-1 {"a":1,"b":1} 0ev
log 1
metric m
ended a/1<0 `chat` 1..2 {"a":1,"b":2} 2ev Ended
"#;
    assert_eq!(feed(&mut assembler, events), expected.trim_start());
}

#[test]
fn a_log_of_an_unknown_span_is_delivered_and_counted_late() {
    let mut assembler = assembler();
    assert_eq!(feed(&mut assembler, [log(1, "early")]), "log 1\n");
    feed(&mut assembler, [start(1, "s"), end(1)]);
    assert_eq!(feed(&mut assembler, [log(1, "late")]), "log 1\n");
    assert_eq!(assembler.counts().late, 2);
}

#[test]
fn logs_and_metrics_without_a_span_are_delivered() {
    let mut assembler = assembler();
    let events = [Event::log(Severity::Info, "x"), Event::metric("m", 1.5, "s")];
    assert_eq!(feed(&mut assembler, events), "log 0\nmetric m\n");
    assert_eq!(assembler.counts().late, 0);
}

#[test]
fn an_early_end_waits_for_its_start() {
    let mut assembler = assembler();
    assert_eq!(feed(&mut assembler, [end(1)]), "waiting 1\n");
    let expected = "started a/1<0 `s` 1..-1 {} 0ev\nended a/1<0 `s` 1..2 {} 0ev Ended\n";
    assert_eq!(feed(&mut assembler, [start(1, "s")]), expected);
    assert_eq!((assembler.waiting_ends(), assembler.open_spans()), (0, 0));
}

#[test]
fn an_end_whose_start_never_arrives_is_delivered_after_a_while() {
    let mut assembler = assembler();
    feed(&mut assembler, [end(1)]);
    let mut out = Vec::new();
    assembler.tick(at(601), &mut out);
    assert_eq!(render(&out), "ended a/1<0 `` 2..2 {} 0ev Unfinished\n");
    assert_eq!(assembler.counts().unknown_start, 1);
}

#[test]
fn the_first_of_two_starts_wins() {
    let mut assembler = assembler();
    feed(&mut assembler, [start(1, "first").with_attributes(attrs! { "a" => 1 })]);
    let again = start(1, "second").at(at(9)).with_parent(key(7).span_id);
    let signals = feed(&mut assembler, [again.with_attributes(attrs! { "a" => 2, "b" => 2 })]);
    assert_eq!(signals, "started a/1<0 `first` 1..-1 {\"a\":1,\"b\":2} 0ev\n");
    assert_eq!(assembler.counts().duplicate_start, 1);
}

#[test]
fn a_finished_span_is_never_overwritten() {
    let mut assembler = assembler();
    feed(&mut assembler, [start(1, "s"), end(1)]);
    assert_eq!(feed(&mut assembler, [end(1), start(1, "again")]), "");
    assert_eq!((assembler.counts().duplicate_end, assembler.counts().start_after_end), (1, 1));
}

#[test]
fn the_same_span_id_in_another_trace_is_another_span() {
    let mut assembler = assembler();
    let other = TraceId::from_u128(0xb).unwrap();
    feed(&mut assembler, [start(1, "s"), Event::span_start(other, key(1).span_id, "t")]);
    assert_eq!(assembler.open_spans(), 2);
}

#[test]
fn an_unknown_parent_is_not_removed() {
    let mut assembler = assembler();
    let signals = feed(&mut assembler, [start(1, "s").with_parent(key(0xff).span_id)]);
    assert_eq!(signals, "started a/1<ff `s` 1..-1 {} 0ev\n");
}

fn remote_start(header: &str) -> Event {
    start(1, "s").with_attributes(attrs! {
        "__root__" => true, "__root_span__" => true, "k" => 1,
        "traceparent" => header.to_owned(), "tracestate" => "a=b",
    })
}

#[test]
fn a_traceparent_moves_the_span_and_its_later_events() {
    let mut assembler = assembler();
    let header = "00-000000000000000000000000000000fe-00000000000000ee-01";
    let signals =
        feed(&mut assembler, [remote_start(header), start(2, "child"), log(1, "x"), end(2), end(1)]);
    let expected = r#"
started fe/1<ee `s` 1..-1 {"k":1} 0ev
started fe/2<0 `child` 1..-1 {} 0ev
log 1
ended fe/2<0 `child` 1..2 {} 0ev Ended
ended fe/1<ee `s` 1..2 {"k":1} 1ev Ended
"#;
    assert_eq!(signals, expected.trim_start());
    assert_eq!(
        feed(&mut assembler, [start(3, "later")]),
        "started a/3<0 `later` 1..-1 {} 0ev\n",
        "the alias ends"
    );
}

#[test]
fn the_alias_survives_a_restart() {
    let mut first = assembler();
    let mut out = Vec::new();
    let header = "00-000000000000000000000000000000fe-00000000000000ee-01";
    first.ingest(Submission::Event { event: remote_start(header), ttl: Ttl::default() }, at(0), &mut out);
    let Signal::SpanStarted(span) = &out[0] else { panic!("{out:?}") };
    assert!(span.local_root && span.trace_state.as_deref() == Some("a=b"));
    let recovered = Recovered { open_spans: vec![Span::clone(span)], waiting_ends: Vec::new() };
    let mut second = Assembler::new(AssemblerConfig::default(), recovered);
    assert_eq!(feed(&mut second, [end(1)]), "ended fe/1<ee `s` 1..2 {\"k\":1} 0ev Ended\n");
}

#[test]
fn an_invalid_traceparent_is_an_ordinary_attribute() {
    let mut assembler = assembler();
    let signals =
        feed(&mut assembler, [start(1, "s").with_attributes(attrs! { "traceparent" => "nonsense" })]);
    assert_eq!(signals, "started a/1<0 `s` 1..-1 {\"traceparent\":\"nonsense\"} 0ev\n");
    assert_eq!(assembler.counts().invalid_traceparent, 1);
}

#[test]
fn the_oldest_open_span_is_evicted_and_stores_join_its_end() {
    let config = AssemblerConfig { max_open_spans: 1, ..AssemblerConfig::default() };
    let mut assembler = Assembler::new(config, Recovered::default());
    let signals = feed(&mut assembler, [start(1, "old"), start(2, "new"), end(1)]);
    assert!(signals.ends_with("ended a/1<0 `old` 1..-1 {} 0ev Unfinished\nwaiting 1\n"), "{signals}");
    assert_eq!((assembler.counts().evicted, assembler.counts().ended_after_eviction), (1, 1));
}

#[test]
fn a_span_open_for_too_long_is_evicted() {
    let mut assembler = assembler();
    feed(&mut assembler, [start(1, "old")]);
    let mut out = Vec::new();
    assembler.tick(at(25 * 3_600), &mut out);
    assert_eq!(render(&out), "ended a/1<0 `old` 1..-1 {} 0ev Unfinished\n");
}

#[test]
fn values_beyond_limits_are_cut_and_counted() {
    let config = AssemblerConfig {
        max_attributes_per_span: 1,
        max_events_per_span: 1,
        max_value_bytes: 5,
        ..AssemblerConfig::default()
    };
    let mut assembler = Assembler::new(config, Recovered::default());
    let mut out = Vec::new();
    let events = [
        start(1, "s").with_attributes(attrs! { "a" => "żółć", "b" => 2 }),
        log(1, "one"),
        log(1, "two"),
        end(1),
    ];
    for event in events {
        assembler.ingest(Submission::Event { event, ttl: Ttl::default() }, at(0), &mut out);
    }
    let Some(Signal::SpanEnded(span)) = out.last() else { panic!("{out:?}") };
    assert_eq!(span.attributes, attrs! { "a" => "żó" });
    assert_eq!((span.dropped_attributes_count, span.dropped_events_count, span.events.len()), (1, 1, 1));
    assert_eq!(assembler.counts().truncated_values, 1);
    assert_eq!(
        out.iter().filter(|signal| signal.kind() == SignalSet::LOG).count(),
        2,
        "both logs are delivered"
    );
}

#[test]
fn a_span_lives_as_long_as_its_latest_event() {
    let mut assembler = assembler();
    let mut out = Vec::new();
    let inputs = [(start(1, "s"), 100, 0), (log(1, "x"), 1_000, 10), (end(1), 5, 20)];
    for (event, ttl, now) in inputs {
        assembler.ingest(
            Submission::Event { event, ttl: Ttl::from_seconds(ttl).unwrap() },
            at(now),
            &mut out,
        );
    }
    let Some(Signal::SpanEnded(span)) = out.last() else { panic!("{out:?}") };
    assert_eq!(span.expires(), at(1_010));
}

#[test]
fn a_span_received_by_otlp_is_delivered_once() {
    let mut assembler = assembler();
    let log = LogRecord {
        context: EventContext::Span(key(1)),
        timestamp: at(1),
        body: LogBody::SpanEvent { name: "exception".into() },
        attributes: attrs! {},
        service_name: None,
        arrived: at(0),
        ttl: Ttl::default(),
    };
    let span = Span {
        end_time: Some(at(2)),
        state: SpanState::Ended,
        events: vec![SpanEvent::Log(Arc::new(log))],
        ..Span::open(key(1), "otlp", at(1))
    };
    let mut out = Vec::new();
    for _ in 0..2 {
        assembler.ingest(Submission::Span(Box::new(span.clone())), at(0), &mut out);
    }
    assert_eq!(render(&out), "log 1\nended a/1<0 `otlp` 1..2 {} 1ev Ended\n");
    assert_eq!(assembler.counts().duplicate_span, 1);
    assert_eq!(assembler.counts().late, 0);
}

#[test]
fn signals_that_no_sink_wants_are_not_emitted() {
    let mut assembler = assembler().with_interest(SignalSet::SPAN_ENDED);
    let signals = feed(&mut assembler, [start(1, "s"), log(1, "x"), end(1)]);
    assert_eq!(signals, "ended a/1<0 `s` 1..2 {} 1ev Ended\n");
}

fn update(span: u64, failed: bool, attributes: Attributes) -> Event {
    let SpanKey { trace_id, span_id } = key(span);
    let payload = Payload::SpanUpdate { failed };
    Event::StructuredLog(StructuredLog { trace_id, span_id, timestamp: at(1), payload, attributes })
}

#[test]
fn updates_of_an_open_span_are_delivered_with_its_end() {
    let mut assembler = assembler();
    let events = [
        start(1, "s").with_attributes(attrs! { "a" => 1, "b" => 1, "c" => 1 }),
        update(1, true, attrs! { "b" => 2, "c" => 2, "d" => 2 }),
        end(1).with_attributes(attrs! { "c" => 3 }),
        update(1, false, attrs! { "late" => true }),
        update(2, false, attrs! { "unknown" => true }),
    ];
    let mut out = Vec::new();
    for event in events {
        assembler.ingest(Submission::Event { event, ttl: Ttl::default() }, at(0), &mut out);
    }
    let [Signal::SpanStarted(_), Signal::SpanEnded(span)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(span.attributes, attrs! { "a" => 1, "b" => 2, "c" => 3, "d" => 2 });
    assert_eq!(span.status, Some(SpanStatus::Error), "an update fails the span, also if its end does not");
    let counts = assembler.counts();
    assert_eq!((counts.signalled, counts.waiting, counts.refused, counts.late_update), (2, 1, 2, 2));
}

#[test]
fn endless_updates_are_cut_and_stay_within_the_memory_limit() {
    let config =
        AssemblerConfig { max_attributes_per_span: 3, max_open_bytes: 4_096, ..AssemblerConfig::default() };
    let mut assembler = Assembler::new(config, Recovered::default());
    feed(&mut assembler, [start(1, "s")]);
    let again = (0..1_000).map(|_| update(1, false, attrs! { "state" => "as before" }));
    assert_eq!(feed(&mut assembler, again), "", "an attribute that is set again takes no more memory");
    let more = (0..10).map(|number| update(1, false, attrs! { format!("key {number}") => number }));
    feed(&mut assembler, more);
    assert_eq!(assembler.counts().dropped_attributes, 8);
    let large = update(1, false, attrs! { "state" => "x".repeat(4_096) });
    assert!(feed(&mut assembler, [large]).ends_with("Unfinished\n"));
    assert_eq!(assembler.counts().evicted, 1);
}

/// Generates the events of some spans in any order, some of them twice.
fn interleavings() -> impl Strategy<Value = Vec<Event>> {
    let spans = 1_u64..6;
    let all: Vec<Event> = spans
        .flat_map(|span| {
            [start(span, "s"), update(span, false, attrs! { "a" => 1 }), log(span, "x"), end(span)]
        })
        .collect();
    let count = all.len();
    (Just(all).prop_shuffle(), prop::collection::vec(0..count, 0..6)).prop_map(|(mut events, twice)| {
        let again: Vec<Event> = twice.into_iter().map(|index| events[index].clone()).collect();
        events.extend(again);
        events
    })
}

proptest! {
    #[test]
    fn any_order_results_in_the_same_spans(events in interleavings()) {
        let mut assembler = assembler();
        let mut out = Vec::new();
        for event in events {
            assembler.ingest(Submission::Event { event, ttl: Ttl::default() }, at(0), &mut out);
        }
        let mut ended = BTreeMap::new();
        for signal in &out {
            if let Signal::SpanEnded(span) = signal {
                prop_assert!(ended.insert(span.span_id, span.end_time).is_none(), "a span ends once");
            }
        }
        prop_assert_eq!(ended.into_values().collect::<Vec<_>>(), vec![Some(at(2)); 5]);
        prop_assert_eq!((assembler.open_spans(), assembler.waiting_ends()), (0, 0));
        let counts = assembler.counts();
        prop_assert_eq!(counts.submissions, counts.signalled + counts.waiting + counts.refused);
        prop_assert_eq!(counts.refused, counts.duplicate_end + counts.start_after_end + counts.excess_start + counts.duplicate_span + counts.sampled_out + counts.late_update);
    }

    #[test]
    fn memory_stays_within_its_bounds(spans in prop::collection::vec((1_u64..1_000, any::<bool>()), 0..300)) {
        let config = AssemblerConfig { max_open_spans: 8, max_waiting_ends: 4, remembered_spans: 16, ..AssemblerConfig::default() };
        let mut assembler = Assembler::new(config, Recovered::default());
        let mut out = Vec::new();
        for (span, is_start) in spans {
            let event = if is_start { start(span, "s") } else { end(span) };
            assembler.ingest(Submission::Event { event, ttl: Ttl::default() }, at(0), &mut out);
            prop_assert!(assembler.open_spans() <= 8 && assembler.waiting_ends() <= 4);
            prop_assert!(assembler.finished.keys().count() <= 16 && assembler.evicted.keys().count() <= 16);
        }
        prop_assert_eq!(assembler.open_bytes > 0, assembler.open_spans() > 0);
    }
}

#[test]
fn an_end_waits_for_the_configured_time() {
    let config = AssemblerConfig { max_waiting_age: Duration::from_secs(1), ..AssemblerConfig::default() };
    let mut assembler = Assembler::new(config, Recovered::default());
    feed(&mut assembler, [end(1)]);
    let mut out = Vec::new();
    assembler.tick(at(1), &mut out);
    assert!(out.is_empty(), "it has not waited longer than allowed");
    assembler.tick(at(2), &mut out);
    assert_eq!(out.len(), 1);
}
