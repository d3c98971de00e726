//! A value may log while it is formatted. One global subscriber, hence a file of its own.

use std::time::Duration;

use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec};
use telemetry_testkit::{CaptureSink, READY_MADE, ready_made};
use tracing_subscriber::layer::SubscriberExt as _;

struct Talkative;

impl std::fmt::Debug for Talkative {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        tracing::info!(inner = 1);
        f.write_str("talkative")
    }
}

#[test]
fn values_that_log_while_they_are_recorded_lose_nothing() {
    let (sink, seen) = CaptureSink::new();
    let spec = SinkSpec { entry: &READY_MADE, context: ready_made(sink.built()) };
    let pipeline = Pipeline::start(vec![spec], PipelineConfig::default()).unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry_tracing::layer(pipeline.telemetry()));
    tracing::subscriber::set_global_default(subscriber).unwrap();
    tracing::info!(before = 0, value = ?Talkative);
    pipeline.shutdown(Duration::from_secs(30));
    assert_eq!(seen.messages(), ["inner=1", "before=0 value=talkative"]);
}
