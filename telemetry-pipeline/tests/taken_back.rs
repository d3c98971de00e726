//! Signals that a sink gathered and could not export before it ended are counted as failed.

use std::time::Duration;

use async_trait::async_trait;
use telemetry_core::{
    Batch, BuiltSink, Event, Options, RunId, Severity, SignalSet, Sink, SinkContext, SinkEntry, SinkError,
    Written,
};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec};

struct Gathers(u64);

#[async_trait]
impl Sink for Gathers {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        self.0 += batch.len() as u64;
        Ok(batch.delivered())
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        Err(SinkError::retry("the last export failed").revoked(self.0))
    }
}

static GATHERS: SinkEntry = SinkEntry {
    name: "gathers",
    summary: "never exports the signals that it gathers",
    keys: &[],
    build: |_| Box::pin(async { Ok(BuiltSink::new(Gathers(0), SignalSet::ALL)) }),
};

#[test]
fn signals_of_a_failed_last_export_count_as_failed() {
    let context = SinkContext { service_name: "test".into(), options: Options::default(), run: RunId(1) };
    let spec = SinkSpec { entry: &GATHERS, context };
    let pipeline = Pipeline::start(vec![spec], PipelineConfig::default()).unwrap();
    for _ in 0..3 {
        pipeline.telemetry().log_event(Event::log(Severity::Info, "gathered"));
    }
    let report = pipeline.shutdown(Duration::from_secs(30));
    let sink = &report.ledger.sinks[0];
    assert_eq!((sink.accepted, sink.delivered, sink.failed, sink.pending), (3, 0, 3, 0));
    assert_eq!(sink.reasons["the last export failed"], 3);
}
