//! The metrics known by name, and which instrument any metric is.

use std::collections::HashMap;

use crate::{MetricKind, MetricValue};

/// A metric known by name: Llama Stack's table, SPEC section 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownMetric {
    /// The name Prometheus and OTLP users see.
    pub exported: &'static str,
    /// The bare name that inference code logs, if there is one.
    pub bare: Option<&'static str>,
    /// The instrument.
    pub kind: MetricKind,
    /// The unit.
    pub unit: &'static str,
    /// The labels it comes with.
    pub labels: &'static [&'static str],
    /// One sentence for `# HELP`.
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

/// The known metric of this name, exported or bare.
///
/// ```
/// use telemetry_core::known_metric;
/// assert_eq!(known_metric("total_tokens").unwrap().exported, "llama_stack_tokens_total");
/// assert_eq!(known_metric("latency"), None);
/// ```
pub fn known_metric(name: &str) -> Option<&'static KnownMetric> {
    KNOWN_METRICS.iter().find(|known| known.exported == name || known.bare == Some(name))
}

/// The name under which a metric is one series with its other name: the exported one where known.
pub fn canonical_name(name: &str) -> &str {
    known_metric(name).map_or(name, |known| known.exported)
}

/// Remembers which instrument each metric is, for sinks that have instruments (`otel_metric`, `/metrics`).
///
/// Known metrics are what the table says. For others the event's kind decides; else the kind first
/// seen for the name binds; else a name ending `_total` or an integer value is a counter, a float a gauge.
///
/// ```
/// use telemetry_core::{Instruments, MetricKind, Refusal};
///
/// let mut instruments = Instruments::default();
/// assert_eq!(instruments.bind("latency", None, 0.5.into(), "s").unwrap().kind, MetricKind::Gauge);
/// assert_eq!(instruments.bind("latency", Some(MetricKind::Counter), 1.into(), "s"), Err(Refusal::Kind));
/// assert_eq!(instruments.bind("prompt_tokens", None, (-1).into(), "tokens"), Err(Refusal::NegativeIncrement));
/// ```
#[derive(Debug, Default)]
pub struct Instruments(HashMap<String, Bound>);

/// What is settled about a metric's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The instrument.
    pub kind: MetricKind,
    /// The unit.
    pub unit: String,
}

/// Why an instrument can't take a measurement. The store takes it all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A counter only grows.
    #[error("a counter takes no negative increment")]
    NegativeIncrement,
    /// The name is bound to another instrument.
    #[error("the metric is bound to another kind of instrument")]
    Kind,
    /// The name is bound to another unit.
    #[error("the metric is bound to another unit")]
    Unit,
    /// NaN or infinity.
    #[error("the value is not finite")]
    NotFinite,
}

impl Instruments {
    /// The instrument of a metric that nothing else tells: a name ending `_total` or an integer value
    /// is a counter, a float a gauge; known metrics are what the table says.
    pub fn guess(name: &str, value: MetricValue) -> MetricKind {
        known_metric(name).map_or_else(|| guess(name, value), |known| known.kind)
    }

    /// The instrument for one measurement of `name` (the canonical name is used).
    ///
    /// # Errors
    ///
    /// A [`Refusal`] for what the instrument can't express.
    pub fn bind(
        &mut self,
        name: &str,
        kind: Option<MetricKind>,
        value: MetricValue,
        unit: &str,
    ) -> Result<&Bound, Refusal> {
        let known = known_metric(name);
        let name = canonical_name(name);
        if !self.0.contains_key(name) {
            let bound = match known {
                Some(known) => Bound { kind: known.kind, unit: known.unit.to_owned() },
                None => Bound { kind: kind.unwrap_or_else(|| guess(name, value)), unit: unit.to_owned() },
            };
            self.0.insert(name.to_owned(), bound);
        }
        let bound = &self.0[name];
        if kind.is_some_and(|kind| kind != bound.kind) {
            return Err(Refusal::Kind);
        }
        if bound.unit != unit {
            return Err(Refusal::Unit);
        }
        if !value.as_f64().is_finite() {
            return Err(Refusal::NotFinite);
        }
        if bound.kind == MetricKind::Counter && value.as_f64() < 0.0 {
            return Err(Refusal::NegativeIncrement);
        }
        Ok(bound)
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
    fn the_first_kind_seen_binds() {
        let mut instruments = Instruments::default();
        assert_eq!(
            instruments.bind("queue", Some(MetricKind::Gauge), 1.into(), "1").unwrap().kind,
            MetricKind::Gauge
        );
        assert_eq!(instruments.bind("queue", None, 2.into(), "1").unwrap().kind, MetricKind::Gauge);
        assert_eq!(instruments.bind("queue", None, 2.into(), "ms"), Err(Refusal::Unit));
        assert_eq!(
            instruments.bind("errors_total", None, 0.5.into(), "1").unwrap().kind,
            MetricKind::Counter
        );
    }

    #[test]
    fn a_known_gauge_takes_integers() {
        let mut instruments = Instruments::default();
        let bound = instruments.bind("llama_stack_concurrent_requests", None, 3.into(), "requests").unwrap();
        assert_eq!(bound.kind, MetricKind::Gauge);
    }
}
