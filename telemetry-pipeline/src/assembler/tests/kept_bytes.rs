//! Everything that the assembler keeps is charged, and bounded by bytes.

use super::*;
use telemetry_core::RetainedBytes as _;

fn large_log(span: u64, bytes: usize) -> Event {
    Event::log(Severity::Info, "x".repeat(bytes)).at(at(1)).in_context(EventContext::Span(key(span)))
}

#[test]
fn logs_listed_on_one_span_evict_it_when_they_are_too_large() {
    let mut assembler = assembler();
    assembler.config.max_open_bytes = 1 << 20;
    let events = (0..100).map(|_| large_log(1, 100_000));
    let signals = feed(&mut assembler, std::iter::once(start(1, "s")).chain(events));
    assert!(signals.contains("Unfinished"), "{signals}");
    assert_eq!(signals.matches("log 1\n").count(), 100, "every log is delivered");
    assert!(assembler.open_bytes <= 1 << 20, "{}", assembler.open_bytes);
    assert_eq!((assembler.open_spans(), assembler.counts().evicted), (0, 1));
}

#[test]
fn logs_are_not_kept_when_no_sink_reads_a_span_s_list() {
    let mut assembler = assembler().with_listed_events(false);
    assembler.config.max_open_bytes = 1 << 20;
    let events = (0..100).map(|_| large_log(1, 100_000));
    let signals = feed(&mut assembler, std::iter::once(start(1, "s")).chain(events).chain([end(1)]));
    assert_eq!(signals.matches("log 1\n").count(), 100);
    assert!(signals.ends_with("ended a/1<0 `s` 1..2 {} 0ev Ended\n"), "{signals}");
    assert_eq!(assembler.counts().dropped_events, 0);
}

#[test]
fn ends_that_wait_are_bounded_by_their_bytes() {
    let mut assembler = assembler();
    assembler.config.max_waiting_bytes = 1 << 20;
    let large = |span| end(span).with_attributes(attrs! { "text" => "x".repeat(100_000) });
    let signals = feed(&mut assembler, (1..=100).map(large));
    assert_eq!(signals.matches("waiting").count(), 100, "stores receive every end");
    assert!((5..=10).contains(&assembler.waiting_ends()), "{}", assembler.waiting_ends());
    assert_eq!(assembler.counts().unknown_start, 100 - assembler.waiting_ends() as u64);
    feed(&mut assembler, (1..=100).map(|span| start(span, "s")));
    assert_eq!(assembler.waiting_ends(), 0);
    feed(&mut assembler, (201..=205).map(large));
    assert_eq!(assembler.waiting_ends(), 5, "the bytes of ends that met their start are free again");
}

#[test]
fn a_start_that_is_repeated_too_often_is_refused() {
    let mut assembler = assembler();
    let again = |number: u64| {
        start(1, "s").with_attributes([(format!("key-{number}").into(), 1.into())].into_iter().collect())
    };
    let mut written = 0;
    for number in 0..130 {
        let mut out = Vec::new();
        let submission = Submission::Event { event: again(number), ttl: Ttl::default() };
        assembler.ingest(submission, at(0), &mut out);
        written += out.retained_bytes();
    }
    let counts = assembler.counts();
    assert_eq!((counts.duplicate_start, counts.excess_start, counts.refused), (129, 114, 114));
    assert!(written < 130 * 1_024, "{written}");
    let ended = feed(&mut assembler, [end(1)]);
    assert!(
        ended.contains("\"key-15\":1") && !ended.contains("\"key-16\""),
        "the first sixteen count: {ended}"
    );
}

#[test]
fn a_span_that_two_stores_kept_is_charged_once() {
    let span = Span { attributes: attrs! { "text" => "x".repeat(10_000) }, ..Span::open(key(1), "s", at(1)) };
    let recovered = |times| Recovered { open_spans: vec![span.clone(); times], waiting_ends: Vec::new() };
    let once = Assembler::new(AssemblerConfig::default(), recovered(1));
    let mut twice = Assembler::new(AssemblerConfig::default(), recovered(2));
    assert_eq!(once.open_bytes, twice.open_bytes);
    feed(&mut twice, [end(1)]);
    assert_eq!((twice.open_bytes, twice.open_spans()), (0, 0));
}

#[test]
fn an_event_with_too_many_attributes_is_cut_in_linear_time_and_counted() {
    let mut assembler = assembler();
    let many = |prefix: &str| -> Attributes {
        (0..20_000).map(|number| (format!("{prefix}{number}").into(), number.into())).collect()
    };
    let events = [start(1, "s").with_attributes(many("a")), end(1).with_attributes(many("b"))];
    let mut out = Vec::new();
    for event in events {
        assembler.ingest(Submission::Event { event, ttl: Ttl::default() }, at(0), &mut out);
    }
    let Some(Signal::SpanEnded(span)) = out.last() else { unreachable!() };
    assert_eq!(span.attributes.len(), 10_000);
    assert_eq!(assembler.counts().dropped_attributes, 30_000);
}
