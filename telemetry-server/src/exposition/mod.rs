//! `GET /metrics`: what was logged, the server itself, and the ledger, in Prometheus's text format.

mod logged;
mod names;
mod requests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use telemetry_pipeline::{Ledger, Telemetry};

use logged::Logged;
pub(crate) use logged::Measurement;
pub(crate) use requests::Requests;

/// The content type of the format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that is shown.
#[derive(Debug)]
pub(crate) struct Exposition {
    registry: Registry,
    logged: Arc<Mutex<Logged>>,
    pub(crate) requests: Requests,
}

impl Exposition {
    pub(crate) fn new(telemetry: Telemetry) -> Self {
        let mut registry = Registry::default();
        let logged = Arc::<Mutex<Logged>>::default();
        let requests = Requests::new(&mut registry);
        registry.register_collector(Box::new(Parts { logged: Arc::clone(&logged), telemetry }));
        Self { registry, logged, requests }
    }

    /// Counts measurements that were acknowledged.
    pub(crate) fn record(&self, measurements: Vec<Measurement>) {
        if measurements.is_empty() {
            return;
        }
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        for measurement in measurements {
            logged.record(measurement);
        }
    }

    /// The page.
    pub(crate) fn render(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        // The classic format, which every Prometheus reads: without OpenMetrics' end mark.
        text::encode_registry(&mut page, &self.registry)?;
        Ok(page)
    }
}

/// What is read at each scrape.
#[derive(Debug)]
struct Parts {
    logged: Arc<Mutex<Logged>>,
    telemetry: Telemetry,
}

impl Collector for Parts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.encode(&mut encoder)?;
        let refused = logged.refused().map(|(reason, count)| ([("reason", reason)], count));
        let help = "Measurements not shown here, by reason.";
        counters(&mut encoder, "telemetry_metrics_refused_total", help, refused)?;
        drop(logged);
        ledger(&mut encoder, &self.telemetry.ledger())
    }
}

/// Writes counters. The encoder's own counters are named for OpenMetrics, where the metric lacks the
/// `_total` of its samples; the classic format wants both alike, so the name is whole and the sample plain.
fn counters<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = ([(&'static str, impl AsRef<str>); N], u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, count) in samples {
        let labels = labels.each_ref().map(|(name, value)| (*name, value.as_ref()));
        metric.encode_family(&labels)?.encode_gauge(&count)?;
    }
    Ok(())
}

/// A number per sink.
fn gauges<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    sinks: impl Iterator<Item = (&'a str, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (sink, value) in sinks {
        family.encode_family(&[("sink", sink)])?.encode_gauge(&value)?;
    }
    Ok(())
}

fn ledger(encoder: &mut DescriptorEncoder<'_>, ledger: &Ledger) -> fmt::Result {
    let ingest = [
        ("accepted", ledger.ingest.accepted),
        ("refused_full", ledger.ingest.refused_full),
        ("refused_closed", ledger.ingest.refused_closed),
    ];
    let events = ingest.into_iter().map(|(outcome, count)| ([("outcome", outcome)], count));
    let help = "Events submitted to the pipeline, by outcome.";
    counters(encoder, "telemetry_ingest_events_total", help, events)?;
    let signals = ledger.sinks.iter().flat_map(|sink| {
        let outcomes = [("delivered", sink.delivered), ("failed", sink.failed), ("dropped", sink.dropped)];
        outcomes.map(|(outcome, count)| ([("sink", sink.name.as_str()), ("outcome", outcome)], count))
    });
    counters(encoder, "telemetry_sink_signals_total", "Signals a sink is done with, by outcome.", signals)?;
    let lost = ledger.sinks.iter().flat_map(|sink| {
        let reasons = sink.reasons.iter();
        reasons.map(|(reason, count)| ([("sink", sink.name.as_str()), ("reason", reason.as_str())], *count))
    });
    counters(encoder, "telemetry_sink_lost_signals_total", "Signals failed or dropped, by reason.", lost)?;
    let retries = ledger.sinks.iter().map(|sink| ([("sink", &sink.name)], sink.retries));
    counters(encoder, "telemetry_sink_retries_total", "Tries that failed and were tried again.", retries)?;
    let pending = ledger.sinks.iter().map(|sink| (sink.name.as_str(), sink.pending));
    gauges(
        encoder,
        "telemetry_sink_pending",
        "Signals on their way to a sink, in memory or on disk.",
        pending,
    )?;
    let spooled = ledger.sinks.iter().map(|sink| (sink.name.as_str(), sink.spooled));
    let help = "Those of the pending signals that are on disk, where a restart finds them.";
    gauges(encoder, "telemetry_sink_spooled", help, spooled)?;
    Ok(())
}
