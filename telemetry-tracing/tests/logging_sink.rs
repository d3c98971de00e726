//! What the thread of a sink logs is not recorded. Otherwise a sink would receive what it causes.
//!
//! This test needs a global subscriber, so it has its own file.

use std::time::Duration;

use async_trait::async_trait;
use telemetry_core::{Batch, BuiltSink, Event, Severity, SignalSet, Sink, SinkError, Written};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec};
use telemetry_testkit::{READY_MADE, ready_made};
use tracing_subscriber::layer::SubscriberExt as _;

/// A sink that logs in every write, as an HTTP client does.
struct LoggingSink;

#[async_trait]
impl Sink for LoggingSink {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        tracing::info_span!("request").in_scope(|| tracing::info!("sent {} signals", batch.len()));
        tokio::task::spawn_blocking(|| tracing::info!("looked up the host"))
            .await
            .expect("logging does not panic");
        Ok(batch.delivered())
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

#[test]
fn a_sink_that_logs_does_not_receive_its_own_logs() {
    let sink = BuiltSink::new(LoggingSink, SignalSet::ALL);
    let spec = SinkSpec { entry: &READY_MADE, context: ready_made(sink) };
    let pipeline = Pipeline::start(vec![spec], PipelineConfig::default()).unwrap();
    let telemetry = pipeline.telemetry();
    let subscriber = tracing_subscriber::registry().with(telemetry_tracing::layer(telemetry.clone()));
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..3 {
        telemetry.log_event(Event::log(Severity::Info, "from the program"));
        assert!(runtime.block_on(telemetry.flush(Duration::from_secs(30))).is_complete());
    }
    let ledger = pipeline.shutdown(Duration::from_secs(30)).ledger;
    assert_eq!((ledger.ingest.accepted, ledger.sinks[0].delivered), (3, 3));
}
