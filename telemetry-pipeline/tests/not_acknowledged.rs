//! Stores that are too slow or reject: submissions that they don't keep are not acknowledged, and can be
//! submitted again.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use telemetry_core::query::TraceQuery;
use telemetry_core::{
    Batch, BuiltSink, Signal, SignalSet, Sink, SinkError, Span, SpanId, SpanKey, SpanState, Submission,
    Timestamp, TraceId, TraceStore as _, Written,
};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec};
use telemetry_testkit::{FaultySink, MemoryStore, Move, READY_MADE, Script, block_on, collect, ready_made};

const DEADLINE: Duration = Duration::from_secs(30);

/// Blocks the store's writes until it is opened.
#[derive(Default)]
struct Barrier {
    open: Mutex<bool>,
    opened: Condvar,
}

struct SlowStore {
    store: MemoryStore,
    barrier: Arc<Barrier>,
}

#[async_trait]
impl Sink for SlowStore {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let open = self.barrier.open.lock().unwrap();
        drop(self.barrier.opened.wait_while(open, |open| !*open).unwrap());
        self.store.store(&batch.iter().cloned().collect::<Vec<_>>());
        Ok(batch.delivered())
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Returns whole spans, each in a trace of its own.
fn spans(count: u64) -> Vec<Submission> {
    let span = |number: u64| {
        let key = SpanKey::new(TraceId::from_u128(number.into()).unwrap(), SpanId::from_u64(number).unwrap());
        let now = Timestamp::now();
        let open = Span::open(key, "chat", now);
        Submission::Span(Box::new(Span { end_time: Some(now), state: SpanState::Ended, ..open }))
    };
    (1..=count).map(span).collect()
}

#[test]
fn spans_that_did_not_fit_are_stored_when_they_are_submitted_again() {
    const MANY: u64 = 2_000;
    let (store, barrier) = (MemoryStore::new("s"), Arc::new(Barrier::default()));
    let sink = SlowStore { store: store.clone(), barrier: Arc::clone(&barrier) };
    let mut built = BuiltSink::new(sink, SignalSet::ALL).with_store(Arc::new(store.clone()));
    built.options.queue_bytes = 1;
    let spec = SinkSpec { entry: &READY_MADE, context: ready_made(built) };
    let pipeline = Pipeline::start(vec![spec], PipelineConfig::default()).unwrap();
    let telemetry = pipeline.telemetry();
    let first = telemetry.submit(spans(MANY)).unwrap();
    assert!(first.wait(DEADLINE).is_err(), "only its first chunk fitted");
    *barrier.open.lock().unwrap() = true;
    barrier.opened.notify_all();
    let traces = || {
        let all = TraceQuery { limit: None, ..TraceQuery::default() };
        block_on(collect(store.query_traces(all))).unwrap().len() as u64
    };
    // They are submitted again until they are acknowledged. Then all must be stored.
    let is_acknowledged =
        || telemetry.submit(spans(MANY)).is_ok_and(|receipt| receipt.wait(DEADLINE).is_ok());
    let started = Instant::now();
    while !is_acknowledged() {
        assert!(started.elapsed() < DEADLINE, "never acknowledged; {} are stored", traces());
    }
    assert_eq!(traces(), MANY);
}

/// More spans than fit into one chunk.
const SPANS: u64 = 300;

/// Starts a pipeline with one store, which receives one chunk per batch and follows a script.
fn start(moves: &[Move]) -> (Pipeline, Script) {
    let (sink, script) = FaultySink::new(moves.iter().copied());
    let mut built = sink.built().with_store(Arc::new(MemoryStore::new("never asked")));
    built.options.batch_signals = 1;
    let spec = SinkSpec { entry: &READY_MADE, context: ready_made(built) };
    (Pipeline::start(vec![spec], PipelineConfig::default()).unwrap(), script)
}

#[test]
fn a_submission_is_acknowledged_only_if_all_its_chunks_are_stored() {
    for first_chunk in [Move::Reject, Move::DeliverBut(1)] {
        let (pipeline, script) = start(&[first_chunk, Move::Deliver]);
        let receipt = pipeline.telemetry().submit(spans(SPANS)).unwrap();
        assert!(receipt.wait(DEADLINE).is_err(), "{first_chunk:?}");
        pipeline.shutdown(DEADLINE);
        assert_eq!(script.left(), 0, "the last chunk was delivered");
    }
}

#[test]
fn rejected_spans_are_stored_when_they_are_submitted_again() {
    let (pipeline, script) = start(&[Move::Reject]);
    let telemetry = pipeline.telemetry();
    assert!(telemetry.submit(spans(SPANS)).unwrap().wait(DEADLINE).is_err());
    telemetry.submit(spans(SPANS)).unwrap().wait(DEADLINE).unwrap();
    pipeline.shutdown(DEADLINE);
    let kept = script.seen().signals().into_iter().filter(|signal| matches!(signal, Signal::SpanEnded(_)));
    assert_eq!(kept.count() as u64, SPANS);
}

#[test]
fn a_repetition_of_a_pending_submission_is_not_acknowledged_if_that_is_rejected() {
    let (pipeline, script) = start(&[Move::Retry(Some(Duration::from_secs(1))), Move::Reject]);
    let telemetry = pipeline.telemetry();
    let one = || spans(1);
    let first = telemetry.submit(one()).unwrap();
    let deadline = Instant::now() + DEADLINE;
    while script.left() > 1 {
        assert!(Instant::now() < deadline, "the first try was not made");
        std::thread::yield_now();
    }
    let second = telemetry.submit(one()).unwrap();
    assert!(first.wait(DEADLINE).is_err() && second.wait(DEADLINE).is_err());
    telemetry.submit(one()).unwrap().wait(DEADLINE).unwrap();
    pipeline.shutdown(DEADLINE);
    assert_eq!(script.seen().ended_spans().len(), 1);
}
