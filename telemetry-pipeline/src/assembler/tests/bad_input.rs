//! Invalid and extreme input: no panic, no negative duration, everything counted.

use super::*;

#[test]
fn enormous_values_and_messages_are_cut_between_characters_and_counted() {
    let mut assembler = assembler();
    assembler.config.max_value_bytes = 4;
    let long = "äöü";
    let events = [
        start(1, "s").with_attributes(attrs! { "text" => long, "short" => "abcd", "number" => 7 }),
        log(1, long),
    ];
    let mut out = Vec::new();
    for event in events {
        assembler.ingest(Submission::Event { event, ttl: Ttl::default() }, at(0), &mut out);
    }
    let Signal::SpanStarted(span) = &out[0] else { unreachable!("{out:?}") };
    assert_eq!(span.attributes, attrs! { "text" => "äö", "short" => "abcd", "number" => 7 });
    let Signal::Log(log) = &out[1] else { unreachable!("{out:?}") };
    assert!(matches!(&log.body, LogBody::Message { message, .. } if message == "äö"), "{log:?}");
    assert_eq!(assembler.counts().truncated_values, 2);
}

#[test]
fn too_many_attributes_are_cut_and_counted_on_the_span() {
    let mut assembler = assembler();
    assembler.config.max_attributes_per_span = 2;
    let events = [start(1, "s"), end(1).with_attributes(attrs! { "a" => 1, "b" => 2, "c" => 3 })];
    let mut out = Vec::new();
    for event in events {
        assembler.ingest(Submission::Event { event, ttl: Ttl::default() }, at(0), &mut out);
    }
    let Some(Signal::SpanEnded(span)) = out.last() else { unreachable!("{out:?}") };
    assert_eq!((span.attributes.len(), span.dropped_attributes_count), (2, 1));
    assert_eq!(assembler.counts().dropped_attributes, 1);
}

#[test]
fn a_clock_that_jumps_back_makes_no_duration_negative() {
    let mut assembler = assembler();
    let mut out = Vec::new();
    for event in [start(1, "s").at(at(100)), end(1).at(at(1))] {
        assembler.ingest(Submission::Event { event, ttl: Ttl::default() }, at(0), &mut out);
    }
    let Some(Signal::SpanEnded(span)) = out.last() else { unreachable!("{out:?}") };
    assert_eq!(span.duration_ms(), Some(0.0));
}

#[test]
fn a_forgotten_span_is_delivered_unfinished_and_its_end_completes_it() {
    let mut assembler = assembler();
    feed(&mut assembler, [start(1, "forgotten")]);
    let mut out = Vec::new();
    assembler.tick(at(25 * 3_600), &mut out);
    assert_eq!(render(&out), "ended a/1<0 `forgotten` 1..-1 {} 0ev Unfinished\n");
    assert_eq!(feed(&mut assembler, [end(1)]), "waiting 1\n");
    assert_eq!((assembler.counts().evicted, assembler.counts().ended_after_eviction), (1, 1));
}
