//! Aggregates metric points by service and exports the aggregates.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter as _;
use telemetry_core::{Action, MetricPoint, SinkError, Written};

use crate::config::MetricConfig;
use crate::http_client::Client;
use crate::metric::recorder::Recorder;
use crate::request_plan::{Rejections, partial_success_reason};
use crate::resource::Resources;
use crate::response::Outcome;

/// Number of services whose metrics are kept apart, this process included.
const MAX_SERVICES: usize = 100;

/// The name of another service; `None` is this process.
type Service = Option<Arc<str>>;

/// The aggregates of all services and their exporter, shared by the sink and the periodic export.
pub(super) struct Aggregator {
    resources: Resources,
    config: MetricConfig,
    /// Never locked across an await.
    recorders: Mutex<Recorders>,
    export: tokio::sync::Mutex<Export>,
}

#[derive(Debug, Default)]
struct Recorders {
    by_service: HashMap<Service, Recorder>,
    unreported: Rejections,
    /// Number of overflowed points at the latest warning.
    overflow_logged: u64,
}

/// The exporter and the metrics that it has not delivered yet.
struct Export {
    exporter: MetricExporter,
    client: Client,
    /// Metrics that were collected but not delivered. A collection removes them from the SDK, so they
    /// are kept here in case the export is cancelled or fails.
    pending: HashMap<Service, Collected>,
    is_failing: bool,
}

#[derive(Debug)]
struct Collected {
    metrics: ResourceMetrics,
    /// Number of points that no earlier export delivered.
    points: u64,
}

impl Aggregator {
    pub(super) fn new(
        resources: Resources,
        config: MetricConfig,
        exporter: MetricExporter,
        client: Client,
    ) -> Self {
        let export = Export { exporter, client, pending: HashMap::new(), is_failing: false };
        Self { resources, config, recorders: Mutex::default(), export: tokio::sync::Mutex::new(export) }
    }

    fn recorders(&self) -> MutexGuard<'_, Recorders> {
        self.recorders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the points of a batch of `len` signals. Returns the rejections not reported before.
    pub(super) fn record<'a>(&self, points: impl Iterator<Item = &'a MetricPoint>, len: usize) -> Written {
        let mut recorders = self.recorders();
        for point in points {
            if let Err(reason) = self.record_one(&mut recorders, point) {
                let name = &point.name;
                recorders.unreported.add(1, || format!("metric `{name}` can't be exported: {reason}"));
            }
        }
        recorders.unreported.report(len)
    }

    fn record_one(&self, recorders: &mut Recorders, point: &MetricPoint) -> Result<(), String> {
        if !recorders.by_service.contains_key(&point.service_name) {
            if recorders.by_service.len() >= MAX_SERVICES {
                return Err(format!("there are already metrics of {MAX_SERVICES} services, the maximum"));
            }
            let resource = self.resources.of(point.service_name.as_deref());
            let recorder = Recorder::new(resource, &self.config);
            recorders.by_service.insert(point.service_name.clone(), recorder);
        }
        let recorder = recorders.by_service.get_mut(&point.service_name);
        recorder.expect("inserted if it was missing").record(point)
    }

    /// Returns the number of points that no successful export has delivered.
    pub(super) fn unsent(&self) -> u64 {
        self.recorders().by_service.values().map(|recorder| recorder.unsent).sum()
    }

    /// Exports the aggregates of every service. Logs the first of several failures and the recovery.
    pub(super) async fn export(&self) -> Result<(), SinkError> {
        let mut export = self.export.lock().await;
        self.log_overflow();
        let services: Vec<Service> = self.recorders().by_service.keys().cloned().collect();
        let mut outcome = Ok(());
        for service in services {
            if let Err(error) = self.export_service(&mut export, &service).await {
                // Do not wait once per service for a collector that is down.
                let is_down = matches!(error.action(), Action::Retry { .. });
                outcome = Err(error);
                if is_down {
                    break;
                }
            }
        }
        match &outcome {
            Err(error) if !export.is_failing => {
                let error = error.full_text();
                tracing::warn!(
                    target: "sink_otel",
                    error,
                    "sink otel_metric can't export metrics; it tries again at every interval"
                );
            }
            Ok(()) if export.is_failing => {
                tracing::info!(target: "sink_otel", "sink otel_metric exports metrics again");
            }
            Ok(()) | Err(_) => {}
        }
        export.is_failing = outcome.is_err();
        outcome
    }

    /// Sends the pending metrics of an earlier export, then the new ones.
    async fn export_service(&self, export: &mut Export, service: &Service) -> Result<(), SinkError> {
        if export.pending.contains_key(service) {
            self.send(export, service).await?;
        }
        let Some(collected) = self.collect(service)? else { return Ok(()) };
        export.pending.insert(service.clone(), collected);
        self.send(export, service).await
    }

    fn collect(&self, service: &Service) -> Result<Option<Collected>, SinkError> {
        let mut recorders = self.recorders();
        let Some(recorder) = recorders.by_service.get_mut(service) else { return Ok(None) };
        let metrics = recorder
            .collect()
            .map_err(|error| SinkError::retry("can't collect the metrics").with("sdk", error))?;
        if metrics.scope_metrics().next().is_none() {
            return Ok(None);
        }
        Ok(Some(Collected { metrics, points: recorder.unsent }))
    }

    async fn send(&self, export: &mut Export, service: &Service) -> Result<(), SinkError> {
        let Some(collected) = export.pending.get(service) else { return Ok(()) };
        let points = collected.points;
        let outcome = Outcome::of(&export.client, export.exporter.export(&collected.metrics)).await;
        if let Outcome::RetryLater(error) = outcome {
            // The next collection contains cumulative metrics again, with the points recorded meanwhile.
            if self.config.temporality == Temporality::Cumulative {
                export.pending.remove(service);
            }
            return Err(error);
        }
        export.pending.remove(service);
        let mut recorders = self.recorders();
        if let Some(recorder) = recorders.by_service.get_mut(service) {
            recorder.unsent = recorder.unsent.saturating_sub(points);
        }
        match outcome {
            Outcome::Accepted { rejected, message } => {
                if rejected > 0 {
                    tracing::warn!(target: "sink_otel", rejected, message, "the collector rejected data points");
                }
                recorders.unreported.add(rejected, || partial_success_reason(&message));
                Ok(())
            }
            Outcome::TooLarge(error) | Outcome::Rejected(error) | Outcome::RetryLater(error) => {
                recorders.unreported.add(points, || error.full_text());
                Err(error)
            }
        }
    }

    /// Warns when points overflow for the first time, and each time their number has doubled.
    fn log_overflow(&self) {
        let mut recorders = self.recorders();
        let overflowed = recorders.by_service.values().map(|recorder| recorder.overflowed).sum::<u64>();
        if overflowed >= recorders.overflow_logged.saturating_mul(2).max(1) {
            recorders.overflow_logged = overflowed;
            let limit = self.config.cardinality_limit;
            tracing::warn!(
                target: "sink_otel",
                overflowed,
                limit,
                "metric points beyond the cardinality limit went to the series `otel.metric.overflow`"
            );
        }
    }
}
