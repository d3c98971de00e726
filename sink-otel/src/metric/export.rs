//! What the clock, flush and shutdown share: the recorders, and the exporter behind its own lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter as _;
use telemetry_core::{Action, MetricPoint, SinkError, Written};

use crate::client::Client;
use crate::config::{Endpoint, MetricConfig, SignalKind};
use crate::error::{Verdict, judge};
use crate::metric::recorder::Recorder;
use crate::requests::{Refusals, partial_text};
use crate::resource::Resources;

/// Services whose metrics are kept apart; `None` is this process.
const MAX_SERVICES: usize = 100;

type Service = Option<Arc<str>>;

/// The sink, as the clock and the worker see it.
pub(super) struct Shared {
    resources: Resources,
    config: MetricConfig,
    /// Never held across an await.
    recorders: Mutex<Recorders>,
    exporting: tokio::sync::Mutex<Exporting>,
}

#[derive(Debug, Default)]
struct Recorders {
    by_service: HashMap<Service, Recorder>,
    untold: Refusals,
    /// Overflowed measurements when they were last logged.
    overflow_logged: u64,
}

/// The exporter, and what it has not got rid of.
pub(super) struct Exporting {
    exporter: MetricExporter,
    client: Client,
    endpoint: Endpoint,
    /// Collected and on its way. What a collection took out of the SDK must not be lost with a
    /// future that is dropped, or with a collector that is down.
    kept: HashMap<Service, Collected>,
    failing: bool,
}

#[derive(Debug)]
struct Collected {
    metrics: ResourceMetrics,
    /// Measurements that no earlier export carried.
    measurements: u64,
}

impl Exporting {
    pub(super) fn new(exporter: MetricExporter, client: Client, endpoint: Endpoint) -> Self {
        Self { exporter, client, endpoint, kept: HashMap::new(), failing: false }
    }
}

impl Shared {
    pub(super) fn new(resources: Resources, config: MetricConfig, exporting: Exporting) -> Self {
        Self { resources, config, recorders: Mutex::default(), exporting: tokio::sync::Mutex::new(exporting) }
    }

    fn recorders(&self) -> MutexGuard<'_, Recorders> {
        self.recorders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the measurements of a batch of `len`, and tells what could not be.
    pub(super) fn record<'a>(&self, points: impl Iterator<Item = &'a MetricPoint>, len: usize) -> Written {
        let mut recorders = self.recorders();
        for point in points {
            if let Err(reason) = self.record_one(&mut recorders, point) {
                recorders.untold.add(1, || format!("metric `{}` can't be exported: {reason}", point.name));
            }
        }
        recorders.untold.tell(len)
    }

    fn record_one(&self, recorders: &mut Recorders, point: &MetricPoint) -> Result<(), String> {
        if !recorders.by_service.contains_key(&point.service_name) {
            if recorders.by_service.len() >= MAX_SERVICES {
                return Err(format!("there are metrics of {MAX_SERVICES} services already"));
            }
            let resource = self.resources.of(point.service_name.as_deref());
            let recorder = Recorder::new(resource, &self.config);
            recorders.by_service.insert(point.service_name.clone(), recorder);
        }
        let recorder = recorders.by_service.get_mut(&point.service_name);
        recorder.expect("inserted if it was missing").record(point)
    }

    /// Measurements that no successful export has carried.
    pub(super) fn unsent(&self) -> u64 {
        self.recorders().by_service.values().map(|recorder| recorder.unsent).sum()
    }

    /// Exports what was measured so far, for every service. Logs when that begins to fail, and when
    /// it works again.
    pub(super) async fn export(&self) -> Result<(), SinkError> {
        let mut exporting = self.exporting.lock().await;
        self.log_overflow();
        let services: Vec<Service> = self.recorders().by_service.keys().cloned().collect();
        let mut outcome = Ok(());
        for service in services {
            if let Err(error) = self.export_service(&mut exporting, &service).await {
                // A collector that can't be reached has no more time for the other services.
                let is_down = matches!(error.action(), Action::Retry { .. });
                outcome = Err(error);
                if is_down {
                    break;
                }
            }
        }
        match &outcome {
            Err(error) if !exporting.failing => {
                let error = error.full_text();
                tracing::warn!(target: "sink_otel", error, "metrics can't be exported; trying again at every interval");
            }
            Ok(()) if exporting.failing => {
                tracing::info!(target: "sink_otel", "metrics are exported again");
            }
            Ok(()) | Err(_) => {}
        }
        exporting.failing = outcome.is_err();
        outcome
    }

    /// Sends what an earlier export left behind, then what is new.
    async fn export_service(&self, exporting: &mut Exporting, service: &Service) -> Result<(), SinkError> {
        if exporting.kept.contains_key(service) {
            self.send(exporting, service).await?;
        }
        let Some(collected) = self.collect(service)? else { return Ok(()) };
        exporting.kept.insert(service.clone(), collected);
        self.send(exporting, service).await
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
        Ok(Some(Collected { metrics, measurements: recorder.unsent }))
    }

    async fn send(&self, exporting: &mut Exporting, service: &Service) -> Result<(), SinkError> {
        let Some(collected) = exporting.kept.get(service) else { return Ok(()) };
        // An earlier export may have been given up while its answer came.
        exporting.client.take_answer();
        let result = exporting.exporter.export(&collected.metrics).await;
        let verdict = judge(SignalKind::Metrics, &exporting.endpoint, &exporting.client, &result);
        let measurements = collected.measurements;
        if let Verdict::Later(error) = verdict {
            // A cumulative export will be made anew, with what comes in the meantime.
            if self.config.temporality == Temporality::Cumulative {
                exporting.kept.remove(service);
            }
            return Err(error);
        }
        exporting.kept.remove(service);
        let mut recorders = self.recorders();
        if let Some(recorder) = recorders.by_service.get_mut(service) {
            recorder.unsent = recorder.unsent.saturating_sub(measurements);
        }
        match verdict {
            Verdict::Accepted { refused, message } => {
                if refused > 0 {
                    tracing::warn!(target: "sink_otel", refused, message, "data points were refused by the collector");
                }
                recorders.untold.add(refused, || partial_text(&message));
                Ok(())
            }
            Verdict::TooLarge(error) | Verdict::Refused(error) | Verdict::Later(error) => {
                recorders.untold.add(measurements, || error.full_text());
                Err(error)
            }
        }
    }

    /// Warns when the overflow began, and whenever it has doubled since.
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
                "measurements beyond the cardinality limit went to the series `otel.metric.overflow`"
            );
        }
    }
}
