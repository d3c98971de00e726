//! A value may log while it is formatted.
//!
//! This test needs a global subscriber, so it has its own file.

use std::time::Duration;

use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec};
use telemetry_testkit::{CaptureSink, READY_MADE, ready_made};
use tracing_subscriber::layer::SubscriberExt as _;

struct LoggingValue;

impl std::fmt::Debug for LoggingValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        tracing::info!(inner = 1);
        f.write_str("value")
    }
}

#[test]
fn logs_of_a_value_that_is_formatted_are_recorded_too() {
    let (sink, seen) = CaptureSink::new();
    let spec = SinkSpec { entry: &READY_MADE, context: ready_made(sink.built()) };
    let pipeline = Pipeline::start(vec![spec], PipelineConfig::default()).unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry_tracing::layer(pipeline.telemetry()));
    tracing::subscriber::set_global_default(subscriber).unwrap();
    tracing::info!(before = 0, value = ?LoggingValue);
    pipeline.shutdown(Duration::from_secs(30));
    assert_eq!(seen.messages(), ["inner=1", "before=0 value=value"]);
}
