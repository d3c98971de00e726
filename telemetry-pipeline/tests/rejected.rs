//! A store that rejects for good: what it has not kept is not acknowledged, also when it comes again.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use telemetry_core::{Signal, Span, SpanId, SpanKey, SpanState, Submission, Timestamp, TraceId};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec};
use telemetry_testkit::{FaultySink, MemoryStore, Move, READY_MADE, Script, ready_made};

const DEADLINE: Duration = Duration::from_secs(30);
/// More than one chunk holds.
const SPANS: u64 = 300;

/// A pipeline with one store, which is given a chunk at a time and follows a script.
fn start(moves: &[Move]) -> (Pipeline, Script) {
    let (sink, script) = FaultySink::new(moves.iter().copied());
    let mut built = sink.built().with_store(Arc::new(MemoryStore::new("never asked")));
    built.options.batch_signals = 1;
    let spec = SinkSpec { entry: &READY_MADE, context: ready_made(built) };
    (Pipeline::start(vec![spec], PipelineConfig::default()).unwrap(), script)
}

/// Whole spans.
fn spans() -> Vec<Submission> {
    let span = |number: u64| {
        let key = SpanKey::new(TraceId::from_u128(1).unwrap(), SpanId::from_u64(number).unwrap());
        let now = Timestamp::now();
        let open = Span::open(key, "chat", now);
        Submission::Span(Box::new(Span { end_time: Some(now), state: SpanState::Ended, ..open }))
    };
    (1..=SPANS).map(span).collect()
}

#[test]
fn a_submission_is_not_acknowledged_for_its_last_chunk_alone() {
    for first_chunk in [Move::Reject, Move::DeliverBut(1)] {
        let (pipeline, script) = start(&[first_chunk, Move::Deliver]);
        let receipt = pipeline.telemetry().submit(spans()).unwrap();
        assert!(receipt.wait(DEADLINE).is_err(), "{first_chunk:?}");
        pipeline.shutdown(DEADLINE);
        assert_eq!(script.left(), 0, "the last chunk was delivered");
    }
}

#[test]
fn spans_that_were_rejected_are_taken_when_they_come_again() {
    let (pipeline, script) = start(&[Move::Reject]);
    let telemetry = pipeline.telemetry();
    assert!(telemetry.submit(spans()).unwrap().wait(DEADLINE).is_err());
    telemetry.submit(spans()).unwrap().wait(DEADLINE).unwrap();
    pipeline.shutdown(DEADLINE);
    let kept = script.seen().signals().into_iter().filter(|signal| matches!(signal, Signal::SpanEnded(_)));
    assert_eq!(kept.count() as u64, SPANS);
}

#[test]
fn a_repetition_of_what_is_still_pending_is_not_acknowledged_when_that_is_rejected() {
    let (pipeline, script) = start(&[Move::Retry(Some(Duration::from_secs(1))), Move::Reject]);
    let telemetry = pipeline.telemetry();
    let one = || spans().into_iter().take(1).collect();
    let first = telemetry.submit(one()).unwrap();
    let deadline = Instant::now() + DEADLINE;
    while script.left() > 1 {
        assert!(Instant::now() < deadline, "the first try is made");
        std::thread::yield_now();
    }
    let second = telemetry.submit(one()).unwrap();
    assert!(first.wait(DEADLINE).is_err() && second.wait(DEADLINE).is_err());
    telemetry.submit(one()).unwrap().wait(DEADLINE).unwrap();
    pipeline.shutdown(DEADLINE);
    assert_eq!(script.seen().ended_spans().len(), 1);
}
