//! The page of `GET /metrics`.

use std::fmt;
use std::iter;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use telemetry_pipeline::{Ledger, Telemetry};

use crate::exposition::http_metrics::HttpMetrics;
use crate::exposition::logged_metrics::{LoggedMetrics, Sample};
use crate::output::lost_log_lines;

/// The content type of the page.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of the page.
#[derive(Debug)]
pub(crate) struct Exposition {
    registry: Registry,
    logged: Arc<Mutex<LoggedMetrics>>,
    pub(crate) http_metrics: HttpMetrics,
}

impl Exposition {
    pub(crate) fn new(telemetry: Telemetry) -> Self {
        let mut registry = Registry::default();
        let logged = Arc::<Mutex<LoggedMetrics>>::default();
        let http_metrics = HttpMetrics::new(&mut registry);
        registry.register_collector(Box::new(AtScrape { logged: Arc::clone(&logged), telemetry }));
        Self { registry, logged, http_metrics }
    }

    /// Adds the samples of metric points that were stored.
    pub(crate) fn record(&self, samples: Vec<Sample>) {
        if samples.is_empty() {
            return;
        }
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        for sample in samples {
            logged.record(sample);
        }
    }

    /// Formats the page.
    pub(crate) fn render(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        // Every Prometheus parses the classic format, which has no end mark like OpenMetrics.
        text::encode_registry(&mut page, &self.registry)?;
        Ok(page)
    }
}

/// The metrics that are collected at each scrape.
#[derive(Debug)]
struct AtScrape {
    logged: Arc<Mutex<LoggedMetrics>>,
    telemetry: Telemetry,
}

impl Collector for AtScrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.encode(&mut encoder)?;
        let refused = logged.refused().map(|(reason, count)| ([("reason", reason)], count));
        let help = "Metric points that are stored but not shown here, by reason.";
        counters(&mut encoder, "telemetry_metrics_refused_total", help, refused)?;
        drop(logged);
        let help = "Lines of the server's log that could not be written.";
        counters(
            &mut encoder,
            "telemetry_log_lines_lost_total",
            help,
            iter::once(([("stream", "stderr")], lost_log_lines())),
        )?;
        ledger(&mut encoder, &self.telemetry.ledger())
    }
}

/// Writes counters.
///
/// The encoder's own counters follow OpenMetrics, where only the samples have the suffix `_total`. In the classic
/// format the metric has it too. So `name` contains it, and each sample is written like that of a gauge.
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

/// Writes a gauge with one sample per sink.
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

/// Writes the ledger.
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
    counters(
        encoder,
        "telemetry_sink_signals_total",
        "Signals that a sink has finished with, by outcome.",
        signals,
    )?;
    let lost = ledger.sinks.iter().flat_map(|sink| {
        let reasons = sink.reasons.iter();
        reasons.map(|(reason, count)| ([("sink", sink.name.as_str()), ("reason", reason.as_str())], *count))
    });
    counters(
        encoder,
        "telemetry_sink_lost_signals_total",
        "Signals that failed or were dropped, by reason.",
        lost,
    )?;
    let retries = ledger.sinks.iter().map(|sink| ([("sink", &sink.name)], sink.retries));
    counters(encoder, "telemetry_sink_retries_total", "Failed writes that were tried again.", retries)?;
    let pending = ledger.sinks.iter().map(|sink| (sink.name.as_str(), sink.pending));
    gauges(encoder, "telemetry_sink_pending", "Signals waiting for a sink, in memory or on disk.", pending)?;
    let spooled = ledger.sinks.iter().map(|sink| (sink.name.as_str(), sink.spooled));
    let help = "The pending signals that are on disk, and so outlive a restart.";
    gauges(encoder, "telemetry_sink_spooled", help, spooled)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_core::{Event, MetricKind, Submission, Ttl, attrs};

    /// Returns the samples of logged metrics on the page.
    fn shown(events: impl IntoIterator<Item = Event>) -> Vec<String> {
        let exposition = Exposition::new(Telemetry::disabled());
        let submission = |event| Submission::Event { event, ttl: Ttl::default() };
        let submissions = events.into_iter().map(submission);
        exposition.record(submissions.filter_map(|submission| Sample::of(&submission)).collect());
        let page = exposition.render().unwrap();
        let is_ours = |line: &str| {
            ["telemetry_ingest", "telemetry_sink", "telemetry_log", "http_"]
                .iter()
                .any(|ours| line.contains(ours))
        };
        let samples = page.lines().filter(|line| !line.starts_with('#') && !is_ours(line));
        samples.map(str::to_owned).collect()
    }

    fn of_kind(event: Event, kind: MetricKind) -> Event {
        match event {
            Event::Metric(mut metric) => {
                metric.kind = Some(kind);
                Event::Metric(metric)
            }
            other => other,
        }
    }

    #[test]
    fn a_known_metric_has_one_series_under_both_names() {
        let tokens = |name: &'static str, value: i64| {
            Event::metric(name, value, "tokens").with_attributes(attrs! { "model_id" => "llama" })
        };
        assert_eq!(
            shown([tokens("prompt_tokens", 40), tokens("llama_stack_prompt_tokens_total", 2)]),
            ["llama_stack_prompt_tokens_total{model_id=\"llama\"} 42"]
        );
    }

    #[test]
    fn odd_names_and_labels_are_escaped() {
        let event = Event::metric("queue.depth", 1.5, "1").with_attributes(
            attrs! { "model.id" => "a\"b\\c\nd", "n" => 7, "nothing" => telemetry_core::Value::Null },
        );
        assert_eq!(shown([event]), [r#"queue_depth{model_id="a\"b\\c\nd",n="7"} 1.5"#]);
    }

    #[test]
    fn the_kind_of_a_metric_decides_its_instrument() {
        let of = |kind, name: &'static str, value: f64| of_kind(Event::metric(name, value, "1"), kind);
        let lines = shown([
            of(MetricKind::UpDownCounter, "up_down", 5.0),
            of(MetricKind::UpDownCounter, "up_down", -2.0),
            of(MetricKind::Gauge, "last", 5.0),
            of(MetricKind::Gauge, "last", 2.0),
            of(MetricKind::Counter, "sum", 0.5),
            of(MetricKind::Histogram, "sizes", 5.0),
            of(MetricKind::Histogram, "sizes", 1e9),
        ]);
        for line in [
            "up_down{} 3.0",
            "last{} 2.0",
            "sum_total{} 0.5",
            "sizes_sum{} 1000000005.0",
            "sizes_count{} 2",
            "sizes_bucket{le=\"0.0\"} 0",
            "sizes_bucket{le=\"5.0\"} 1",
            "sizes_bucket{le=\"+Inf\"} 2",
        ] {
            assert!(lines.iter().any(|shown| shown == line), "no `{line}` in {lines:#?}");
        }
    }

    #[test]
    fn points_that_no_instrument_can_show_are_counted() {
        let metric = |name: &'static str, value: i64, unit: &'static str| Event::metric(name, value, unit);
        let lines = shown([
            metric("a", -1, "1"),
            metric("b", 1, "s"),
            metric("b", 1, "ms"),
            of_kind(metric("b", 1, "s"), MetricKind::Gauge),
            metric("telemetry_sink_signals", 1, "1"),
            metric("b.total", 1, "s"),
            metric("llama.stack.tokens", 1, "tokens"),
            metric("c", 1, "1").with_attributes(attrs! { "x.y" => 1, "x_y" => 2 }),
        ]);
        let expected = [
            "b_total{} 1",
            "telemetry_metrics_refused_total{reason=\"kind\"} 1",
            "telemetry_metrics_refused_total{reason=\"labels\"} 1",
            "telemetry_metrics_refused_total{reason=\"name\"} 3",
            "telemetry_metrics_refused_total{reason=\"negative_increment\"} 1",
            "telemetry_metrics_refused_total{reason=\"unit\"} 1",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn series_beyond_the_limit_are_counted() {
        let event = |number: i64| Event::metric("m", 1, "1").with_attributes(attrs! { "user" => number });
        let lines = shown((0..10_100).map(event));
        assert_eq!(lines.len(), 10_000 + 1);
        assert!(lines.contains(&"telemetry_metrics_refused_total{reason=\"cardinality\"} 100".to_owned()));
    }
}
