//! The sink for metrics: the OpenTelemetry SDK aggregates the points, and aggregates are exported
//! periodically, at a flush and at shutdown.

mod aggregator;
mod histograms;
mod recorder;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_otlp::MetricExporter;
use telemetry_core::{Batch, BuiltSink, Signal, SignalSet, Sink, SinkContext, SinkError, Written};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::config::{Config, MetricConfig, SignalKind};
use crate::http_client::{Client, exporter_error};
use crate::metric::aggregator::Aggregator;
use crate::resource::Resources;

/// Longest duration of the final export: all sinks together have ten seconds to shut down.
const FINAL_EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest duration of the final export after a cancelled flush, when the time to shut down is nearly over.
const FINAL_EXPORT_TIMEOUT_AFTER_FLUSH: Duration = Duration::from_millis(500);

/// Builds the sink `otel_metric`. Must be called on a tokio runtime, which then runs the periodic export.
pub(crate) fn build(context: &SinkContext) -> Result<BuiltSink, SinkError> {
    let config = Config::from_context(context, SignalKind::Metrics)?;
    let metric_config = MetricConfig::from_context(context)?;
    let client = Client::new(&config)?;
    let exporter = client
        .configure(MetricExporter::builder().with_http(), &config)
        .with_temporality(metric_config.temporality)
        .build()
        .map_err(exporter_error)?;
    let interval = metric_config.interval;
    let resources = Resources::new(&context.service_name, &config.resource_attributes);
    let aggregator = Arc::new(Aggregator::new(resources, metric_config, exporter, client));
    let sink = MetricSink {
        final_export_timeout: config.timeout.min(FINAL_EXPORT_TIMEOUT),
        is_flushing: false,
        periodic_export: tokio::spawn(export_periodically(Arc::clone(&aggregator), interval)),
        aggregator,
    };
    Ok(BuiltSink::new(sink, SignalSet::METRIC).with_options(config.worker))
}

/// Exports at every interval, even if no points arrive.
async fn export_periodically(aggregator: Arc<Aggregator>, interval: Duration) {
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // `export` logs a failure, and the next export repeats what was not delivered.
        let _ = aggregator.export().await;
    }
}

struct MetricSink {
    aggregator: Arc<Aggregator>,
    periodic_export: JoinHandle<()>,
    final_export_timeout: Duration,
    /// Stays true after a flush whose future was dropped.
    is_flushing: bool,
}

#[async_trait]
impl Sink for MetricSink {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let points = batch.iter().filter_map(|signal| match signal {
            Signal::Metric(point) => Some(point.as_ref()),
            _ => None,
        });
        Ok(self.aggregator.record(points, batch.len()))
    }

    async fn flush(&mut self) -> Result<(), SinkError> {
        self.is_flushing = true;
        let outcome = self.aggregator.export().await;
        self.is_flushing = false;
        outcome
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        let mut timeout = self.final_export_timeout;
        if self.is_flushing {
            timeout = timeout.min(FINAL_EXPORT_TIMEOUT_AFTER_FLUSH);
        }
        let exported = tokio::time::timeout(timeout, self.aggregator.export()).await;
        let outcome = match exported {
            Ok(outcome) => outcome,
            Err(_) => Err(SinkError::retry("the collector does not answer the final export in time")),
        };
        outcome.map_err(|error| {
            let points = self.aggregator.unsent();
            tracing::warn!(target: "sink_otel", points, "the final export failed: the latest metric points are not delivered");
            error.revoked(points)
        })
    }
}

impl Drop for MetricSink {
    fn drop(&mut self) {
        self.periodic_export.abort();
    }
}
