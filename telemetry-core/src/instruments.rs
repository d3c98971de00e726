//! The metrics known by name, and the rules that choose an instrument for every other metric.

use std::collections::HashMap;

use crate::{MetricKind, MetricValue};

/// A metric of Llama Stack, known by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownMetric {
    /// The name that Prometheus and OTLP users see.
    pub exported: &'static str,
    /// The short name that inference code logs, if there is one.
    pub bare: Option<&'static str>,
    /// The instrument.
    pub kind: MetricKind,
    /// The unit.
    pub unit: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// One sentence for Prometheus' `# HELP`.
    pub help: &'static str,
}

/// The six metrics of Llama Stack.
pub const KNOWN_METRICS: &[KnownMetric] = &[
    KnownMetric {
        exported: "llama_stack_prompt_tokens_total",
        bare: Some("prompt_tokens"),
        kind: MetricKind::Counter,
        unit: "tokens",
        labels: &["model_id", "provider_id"],
        help: "Tokens in the prompts of inference requests.",
    },
    KnownMetric {
        exported: "llama_stack_completion_tokens_total",
        bare: Some("completion_tokens"),
        kind: MetricKind::Counter,
        unit: "tokens",
        labels: &["model_id", "provider_id"],
        help: "Tokens in the completions of inference requests.",
    },
    KnownMetric {
        exported: "llama_stack_tokens_total",
        bare: Some("total_tokens"),
        kind: MetricKind::Counter,
        unit: "tokens",
        labels: &["model_id", "provider_id"],
        help: "Tokens in prompts and completions of inference requests.",
    },
    KnownMetric {
        exported: "llama_stack_requests_total",
        bare: None,
        kind: MetricKind::Counter,
        unit: "requests",
        labels: &["api", "status"],
        help: "Requests served.",
    },
    KnownMetric {
        exported: "llama_stack_request_duration_seconds",
        bare: None,
        kind: MetricKind::Gauge,
        unit: "seconds",
        labels: &["api", "status"],
        help: "Duration of the latest request.",
    },
    KnownMetric {
        exported: "llama_stack_concurrent_requests",
        bare: None,
        kind: MetricKind::Gauge,
        unit: "requests",
        labels: &["api"],
        help: "Requests being served.",
    },
];

/// Returns the known metric with this exported or bare name.
///
/// ```
/// use telemetry_core::known_metric;
/// assert_eq!(known_metric("total_tokens").unwrap().exported, "llama_stack_tokens_total");
/// assert_eq!(known_metric("latency"), None);
/// ```
pub fn known_metric(name: &str) -> Option<&'static KnownMetric> {
    KNOWN_METRICS.iter().find(|known| known.exported == name || known.bare == Some(name))
}

/// Returns the exported name of a known metric, and every other name unchanged.
pub fn canonical_name(name: &str) -> &str {
    known_metric(name).map_or(name, |known| known.exported)
}

/// Remembers the instrument of each metric, for exporters whose metrics have one fixed instrument.
///
/// The instrument of a known metric is in [`KNOWN_METRICS`]. For any other name, the first point
/// decides: its kind if it has one, otherwise [`Instruments::guess`]. Later points must agree.
///
/// ```
/// use telemetry_core::{InstrumentError, Instruments, MetricKind};
///
/// let mut instruments = Instruments::default();
/// assert_eq!(instruments.bind("latency", None, 0.5.into(), "s").unwrap().kind, MetricKind::Gauge);
/// assert_eq!(instruments.bind("latency", Some(MetricKind::Counter), 1.into(), "s"), Err(InstrumentError::Kind));
/// assert_eq!(instruments.bind("prompt_tokens", None, (-1).into(), "tokens"), Err(InstrumentError::NegativeIncrement));
/// ```
#[derive(Debug, Default)]
pub struct Instruments(HashMap<String, Instrument>);

/// The instrument of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Its kind.
    pub kind: MetricKind,
    /// Its unit.
    pub unit: String,
}

/// Why an instrument cannot record a metric point. Stores keep the point all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstrumentError {
    /// The value is negative, and the instrument is a counter.
    #[error("the increment of a counter must not be negative")]
    NegativeIncrement,
    /// The metric has another kind of instrument.
    #[error("the metric has another kind of instrument")]
    Kind,
    /// The metric has another unit.
    #[error("the metric has another unit")]
    Unit,
    /// The value is NaN or infinite.
    #[error("the value is not finite")]
    NotFinite,
}

impl Instruments {
    /// Returns the kind of a metric from its name and one value. Metrics that are not known are counters
    /// if the name ends with `_total` or the value is an integer, and gauges otherwise.
    pub fn guess(name: &str, value: MetricValue) -> MetricKind {
        known_metric(name).map_or_else(|| guess(name, value), |known| known.kind)
    }

    /// Returns the instrument for one point of `name`, and remembers it under the canonical name.
    ///
    /// # Errors
    ///
    /// Returns an [`InstrumentError`] if the instrument cannot record the point.
    pub fn bind(
        &mut self,
        name: &str,
        kind: Option<MetricKind>,
        value: MetricValue,
        unit: &str,
    ) -> Result<&Instrument, InstrumentError> {
        let known = known_metric(name);
        let name = canonical_name(name);
        if !self.0.contains_key(name) {
            let instrument = match known {
                Some(known) => Instrument { kind: known.kind, unit: known.unit.to_owned() },
                None => {
                    Instrument { kind: kind.unwrap_or_else(|| guess(name, value)), unit: unit.to_owned() }
                }
            };
            self.0.insert(name.to_owned(), instrument);
        }
        let instrument = &self.0[name];
        if kind.is_some_and(|kind| kind != instrument.kind) {
            return Err(InstrumentError::Kind);
        }
        if instrument.unit != unit {
            return Err(InstrumentError::Unit);
        }
        if !value.as_f64().is_finite() {
            return Err(InstrumentError::NotFinite);
        }
        if instrument.kind == MetricKind::Counter && value.as_f64() < 0.0 {
            return Err(InstrumentError::NegativeIncrement);
        }
        Ok(instrument)
    }
}

fn guess(name: &str, value: MetricValue) -> MetricKind {
    match value {
        MetricValue::Int(_) => MetricKind::Counter,
        MetricValue::Float(_) if name.ends_with("_total") => MetricKind::Counter,
        MetricValue::Float(_) => MetricKind::Gauge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_point_decides() {
        let mut instruments = Instruments::default();
        assert_eq!(
            instruments.bind("queue", Some(MetricKind::Gauge), 1.into(), "1").unwrap().kind,
            MetricKind::Gauge
        );
        assert_eq!(instruments.bind("queue", None, 2.into(), "1").unwrap().kind, MetricKind::Gauge);
        assert_eq!(instruments.bind("queue", None, 2.into(), "ms"), Err(InstrumentError::Unit));
        assert_eq!(
            instruments.bind("errors_total", None, 0.5.into(), "1").unwrap().kind,
            MetricKind::Counter
        );
    }

    #[test]
    fn a_known_gauge_takes_integers() {
        let mut instruments = Instruments::default();
        let instrument =
            instruments.bind("llama_stack_concurrent_requests", None, 3.into(), "requests").unwrap();
        assert_eq!(instrument.kind, MetricKind::Gauge);
    }
}
