//! A store that falls behind: what it could not be given is not acknowledged, also when it comes again.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use telemetry_core::query::TraceQuery;
use telemetry_core::{
    Batch, BuiltSink, SignalSet, Sink, SinkError, Span, SpanId, SpanKey, SpanState, Submission, Timestamp,
    TraceId, TraceStore as _, Written,
};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec};
use telemetry_testkit::{MemoryStore, READY_MADE, block_on, collect, ready_made};

const DEADLINE: Duration = Duration::from_secs(30);

/// Closed at first: writes wait until it opens.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

struct Gated {
    store: MemoryStore,
    gate: Arc<Gate>,
}

#[async_trait]
impl Sink for Gated {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let open = self.gate.open.lock().unwrap();
        drop(self.gate.opened.wait_while(open, |open| !*open).unwrap());
        self.store.store(&batch.iter().cloned().collect::<Vec<_>>());
        Ok(batch.delivered())
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Whole spans, each a trace of its own.
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
fn spans_that_did_not_fit_are_taken_when_they_come_again() {
    const SPANS: u64 = 2_000;
    let (store, gate) = (MemoryStore::new("s"), Arc::new(Gate::default()));
    let sink = Gated { store: store.clone(), gate: Arc::clone(&gate) };
    let mut built = BuiltSink::new(sink, SignalSet::ALL).with_store(Arc::new(store.clone()));
    built.options.queue_bytes = 1;
    let spec = SinkSpec { entry: &READY_MADE, context: ready_made(built) };
    let pipeline = Pipeline::start(vec![spec], PipelineConfig::default()).unwrap();
    let telemetry = pipeline.telemetry();
    let first = telemetry.submit(spans(SPANS)).unwrap();
    assert!(first.wait(DEADLINE).is_err(), "only its first chunk fitted");
    *gate.open.lock().unwrap() = true;
    gate.opened.notify_all();
    let traces = || {
        let all = TraceQuery { limit: None, ..TraceQuery::default() };
        block_on(collect(store.query_traces(all))).unwrap().len() as u64
    };
    // Sent again until all is acknowledged; then all must be there.
    let is_acknowledged =
        || telemetry.submit(spans(SPANS)).is_ok_and(|receipt| receipt.wait(DEADLINE).is_ok());
    let started = std::time::Instant::now();
    while !is_acknowledged() {
        assert!(started.elapsed() < DEADLINE, "never acknowledged; {} are stored", traces());
    }
    assert_eq!(traces(), SPANS);
}
