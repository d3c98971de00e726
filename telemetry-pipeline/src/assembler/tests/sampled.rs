//! Sampling: which spans are sampled out, which are kept because they failed, and the counts of both.

use super::*;

/// Returns an assembler that samples every trace out.
fn none() -> Assembler {
    with(Sampling::ratio(0.0).unwrap())
}

fn with(sampling: Sampling) -> Assembler {
    let config = AssemblerConfig { sampling, ..AssemblerConfig::default() };
    Assembler::new(config, Recovered::default())
}

fn failed_end(span: u64) -> Event {
    Event::span_end(key(span).trace_id, key(span).span_id, SpanStatus::Error).at(at(2))
}

#[test]
fn a_span_of_a_trace_that_is_not_sampled_is_sampled_out_with_its_logs() {
    let mut assembler = none();
    assert_eq!(feed(&mut assembler, [start(1, "s"), log(1, "x"), end(1)]), "");
    let counts = assembler.counts();
    assert_eq!((counts.waiting, counts.refused, counts.sampled_out), (2, 1, 1));
    assert_eq!((counts.sampled_out_spans, counts.sampled_out_logs), (1, 1));
    assert_eq!(assembler.open_spans(), 0);
}

#[test]
fn a_failed_span_is_kept_with_its_logs() {
    let mut assembler = none();
    let events = [start(1, "s"), log(1, "why"), failed_end(1)];
    assert_eq!(feed(&mut assembler, events), "log 1\nended a/1<0 `s` 1..2 {} 1ev Ended\n");
    let counts = assembler.counts();
    assert_eq!((counts.submissions, counts.waiting, counts.signalled, counts.sampled_out), (3, 2, 1, 0));
}

#[test]
fn a_span_that_an_update_fails_is_kept_also_if_its_end_is_ok() {
    let mut assembler = none();
    let events = [start(1, "s"), update(1, true, attrs! { "error" => "why" }), end(1)];
    assert_eq!(feed(&mut assembler, events), "ended a/1<0 `s` 1..2 {\"error\":\"why\"} 0ev Ended\n");
    let counts = assembler.counts();
    assert_eq!((counts.submissions, counts.waiting, counts.signalled, counts.sampled_out), (3, 2, 1, 0));
}

#[test]
fn metrics_are_never_sampled_out() {
    let mut assembler = none();
    let metric = Event::metric("tokens", 1, "1").in_context(EventContext::Span(key(1)));
    assert_eq!(feed(&mut assembler, [start(1, "s"), metric, end(1)]), "metric tokens\n");
}

#[test]
fn a_span_whose_end_arrives_first_is_sampled_by_the_same_rules() {
    let mut assembler = none();
    assert_eq!(feed(&mut assembler, [end(1), start(1, "s")]), "");
    let expected = "waiting 2\nended a/2<0 `s` 1..2 {} 0ev Ended\n";
    assert_eq!(feed(&mut assembler, [failed_end(2), start(2, "s")]), expected);
    assert_eq!((assembler.open_spans(), assembler.waiting_ends()), (0, 0));
}

#[test]
fn a_second_end_of_a_sampled_out_span_is_a_duplicate() {
    let mut assembler = none();
    feed(&mut assembler, [start(1, "s"), end(1)]);
    assert_eq!(feed(&mut assembler, [failed_end(1)]), "");
    assert_eq!(assembler.counts().duplicate_end, 1);
}

#[test]
fn the_remote_trace_id_decides_about_sampling() {
    const SAMPLED: &str = "00-0af7651916cd43dd0448eb211c80319c-b7ad6b7169203331-00";
    let mut assembler = with(Sampling::ratio(0.5).unwrap());
    let remote: crate::TraceParent = SAMPLED.parse().unwrap();
    assert!(assembler.config.sampling.keeps(remote.parent.trace_id));
    let trace = TraceId::from_u128(u128::MAX).unwrap();
    assert!(!assembler.config.sampling.keeps(trace));
    let start =
        Event::span_start(trace, key(1).span_id, "s").with_attributes(attrs! { "traceparent" => SAMPLED });
    let end = Event::span_end(trace, key(1).span_id, SpanStatus::Ok);
    assert_eq!(feed(&mut assembler, [start, end]).lines().count(), 2);
}

#[test]
fn a_whole_span_is_sampled_out_unless_it_failed() {
    for (status, delivered) in [(None, 0), (Some(SpanStatus::Ok), 0), (Some(SpanStatus::Error), 1)] {
        let mut assembler = none();
        let span = Span { status, ..Span::open(key(1), "otlp", at(1)) };
        let mut out = Vec::new();
        assembler.ingest(Submission::Span(Box::new(span)), at(0), &mut out);
        assert_eq!(out.len(), delivered, "{status:?}");
    }
}

#[test]
fn an_evicted_span_is_sampled_out() {
    let mut assembler = none();
    assembler.config.max_open_spans = 1;
    assert_eq!(feed(&mut assembler, [start(1, "s"), start(2, "s"), end(1), end(2)]), "");
    let counts = assembler.counts();
    assert_eq!((counts.evicted, counts.sampled_out_spans, counts.sampled_out), (1, 2, 2));
}

#[test]
fn a_ratio_keeps_its_share_and_a_larger_one_keeps_all_traces_of_a_smaller_one() {
    let (tenth, half) = (Sampling::ratio(0.1).unwrap(), Sampling::ratio(0.5).unwrap());
    let traces: Vec<TraceId> = (0..10_000).map(|_| crate::random_trace_id()).collect();
    let kept = |sampling: Sampling| traces.iter().filter(|trace| sampling.keeps(**trace)).count();
    assert!((800..1_200).contains(&kept(tenth)), "{}", kept(tenth));
    assert!(traces.iter().all(|trace| !tenth.keeps(*trace) || half.keeps(*trace)));
    assert_eq!((kept(Sampling::ALL), kept(Sampling::ratio(1.0).unwrap())), (10_000, 10_000));
    for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert!(Sampling::ratio(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn any_order_samples_the_same_spans_out(events in interleavings()) {
        let mut assembler = none();
        let mut out = Vec::new();
        for event in events {
            // Spans 1 and 2 fail.
            let event = match &event {
                Event::StructuredLog(log) if log.span_id.as_u64() <= 2 => match log.payload {
                    Payload::SpanEnd { .. } => failed_end(log.span_id.as_u64()),
                    _ => event,
                },
                _ => event,
            };
            assembler.ingest(Submission::Event { event, ttl: Ttl::default() }, at(0), &mut out);
        }
        let mut ended: Vec<u64> = out
            .iter()
            .filter_map(|signal| match signal {
                Signal::SpanEnded(span) => Some(span.span_id.as_u64()),
                _ => None,
            })
            .collect();
        ended.sort_unstable();
        prop_assert_eq!(ended, [1, 2]);
        let counts = assembler.counts();
        prop_assert_eq!(counts.sampled_out_spans, 3);
        prop_assert_eq!(counts.submissions, counts.signalled + counts.waiting + counts.refused);
        let refused =
            counts.duplicate_end + counts.start_after_end + counts.sampled_out + counts.late_update;
        prop_assert_eq!(counts.refused, refused);
    }
}
