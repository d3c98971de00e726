//! The sink `otel_metric`: measurements aggregated by OpenTelemetry's SDK, exported by the clock.
//!
//! The SDK stamps what it exports with its own clock: an aggregate has no event's time.

mod export;
mod histograms;
mod recorder;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_otlp::MetricExporter;
use telemetry_core::{
    Batch, BoxFuture, BuiltSink, Signal, SignalSet, Sink, SinkContext, SinkEntry, SinkError, Written,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::client::Client;
use crate::config::{Config, Lookup, METRIC_KEYS, MetricConfig, SignalKind};
use crate::exporter::over_http;
use crate::metric::export::{Exporting, Shared};
use crate::resource::Resources;

/// How long the last export may take: a shutdown has ten seconds in all.
const LAST_EXPORT: Duration = Duration::from_secs(5);
/// How long where a flush was given up just before, because the shutdown's time was nearly over.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// The sink `otel_metric`.
pub static METRIC: SinkEntry = SinkEntry {
    name: "otel_metric",
    summary: "sends metrics to an OpenTelemetry collector (OTLP over HTTP)",
    keys: METRIC_KEYS,
    build,
};
telemetry_core::register_sink!(METRIC);

fn build(context: &SinkContext) -> BoxFuture<'_, Result<BuiltSink, SinkError>> {
    Box::pin(async { build_with(context, &crate::process_variable) })
}

/// As the entry's build function, with the environment given. Needs a runtime: the clock runs on it.
pub(crate) fn build_with(context: &SinkContext, lookup: Lookup<'_>) -> Result<BuiltSink, SinkError> {
    let config =
        Config::read(&context.options, lookup, SignalKind::Metrics).map_err(crate::unusable_options)?;
    let metric_config = MetricConfig::read(&context.options, lookup).map_err(crate::unusable_options)?;
    let client = Client::new(&config)?;
    let exporter = over_http(MetricExporter::builder().with_http(), &config, &client);
    let exporter =
        exporter.with_temporality(metric_config.temporality).build().map_err(crate::no_exporter)?;
    let interval = metric_config.interval;
    let resources = Resources::new(&context.service_name, &config.resource_attributes);
    let exporting = Exporting::new(exporter, client, config.endpoint);
    let shared = Arc::new(Shared::new(resources, metric_config, exporting));
    let sink = MetricSink {
        last_export: config.timeout.min(LAST_EXPORT),
        is_flushing: false,
        clock: tokio::spawn(export_by_the_clock(Arc::clone(&shared), interval)),
        shared,
    };
    Ok(BuiltSink::new(sink, SignalSet::METRIC).with_options(config.worker))
}

/// Exports at every interval, also while no measurement comes.
async fn export_by_the_clock(shared: Arc<Shared>, interval: Duration) {
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // The outcome is logged, and the next export repeats what is not delivered.
        let _ = shared.export().await;
    }
}

struct MetricSink {
    shared: Arc<Shared>,
    clock: JoinHandle<()>,
    last_export: Duration,
    /// Still set after a flush whose future was dropped.
    is_flushing: bool,
}

#[async_trait]
impl Sink for MetricSink {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let points = batch.iter().filter_map(|signal| match signal {
            Signal::Metric(point) => Some(point.as_ref()),
            _ => None,
        });
        Ok(self.shared.record(points, batch.len()))
    }

    async fn flush(&mut self) -> Result<(), SinkError> {
        self.is_flushing = true;
        let outcome = self.shared.export().await;
        self.is_flushing = false;
        outcome
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        let limit = if self.is_flushing { self.last_export.min(LAST_MOMENT) } else { self.last_export };
        let exported = tokio::time::timeout(limit, self.shared.export()).await;
        let outcome = match exported {
            Ok(outcome) => outcome,
            Err(_) => Err(SinkError::retry("the collector does not answer the last export in time")),
        };
        outcome.map_err(|error| {
            let measurements = self.shared.unsent();
            tracing::warn!(target: "sink_otel", measurements, "the last measurements are not exported");
            error.revoked(measurements)
        })
    }
}

impl Drop for MetricSink {
    fn drop(&mut self) {
        self.clock.abort();
    }
}
