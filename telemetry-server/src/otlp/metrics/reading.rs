//! What a data point says, and what was added since the point before.

use serde::{Deserialize, Serialize};
use telemetry_core::{MetricPoint, MetricValue, Timestamp};

use super::Series;
use super::exponential::Exponential;
use super::histogram::Histogram;

/// The value of a data point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::otlp) enum Reading {
    /// Of a sum or a gauge.
    Number(MetricValue),
    /// Of a histogram with explicit bounds, or a summary.
    Histogram(Histogram),
    /// Of an exponential histogram.
    Exponential(Exponential),
}

impl Reading {
    /// Streams of different shapes are different streams.
    pub(super) const fn shape(&self) -> &'static str {
        match self {
            Self::Number(_) => "number",
            Self::Histogram(_) => "histogram",
            Self::Exponential(_) => "exponential",
        }
    }

    /// What was added since `before`. A reading that is lower where it can only grow began anew: then
    /// all of it was added (OTLP data model, "Resets and gaps").
    pub(in crate::otlp) fn since(&self, before: &Self, is_monotonic: bool) -> Self {
        let added = match (self, before) {
            (Self::Number(now), Self::Number(before)) => {
                number_since(*now, *before, is_monotonic).map(Self::Number)
            }
            (Self::Histogram(now), Self::Histogram(before)) => now.since(before).map(Self::Histogram),
            (Self::Exponential(now), Self::Exponential(before)) => now.since(before).map(Self::Exponential),
            (Self::Number(_) | Self::Histogram(_) | Self::Exponential(_), _) => None,
        };
        added.unwrap_or_else(|| self.clone())
    }

    /// The measurements it is stored as.
    pub(in crate::otlp) fn points(&self, series: &Series, time: Timestamp) -> Vec<MetricPoint> {
        match self {
            Self::Number(value) => vec![series.point("", [], time, *value, series.kind)],
            Self::Histogram(histogram) => histogram.points(series, time),
            Self::Exponential(histogram) => histogram.points(series, time),
        }
    }
}

/// The difference; `None` after a reset.
fn number_since(now: MetricValue, before: MetricValue, is_monotonic: bool) -> Option<MetricValue> {
    if is_monotonic && now.as_f64() < before.as_f64() {
        return None;
    }
    if let (MetricValue::Int(now), MetricValue::Int(before)) = (now, before)
        && let Some(added) = now.checked_sub(before)
    {
        return Some(MetricValue::Int(added));
    }
    Some(MetricValue::Float(now.as_f64() - before.as_f64())).filter(|added| added.as_f64().is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_adds_what_it_grew_by() {
        let since = |now: MetricValue, before: MetricValue, is_monotonic| {
            Reading::Number(now).since(&Reading::Number(before), is_monotonic)
        };
        assert_eq!(since(8.into(), 5.into(), true), Reading::Number(3.into()));
        assert_eq!(since(5.into(), 8.into(), true), Reading::Number(5.into()), "a reset counts from 0");
        assert_eq!(since(5.into(), 8.into(), false), Reading::Number((-3).into()));
        assert_eq!(since(1.5.into(), 1.into(), true), Reading::Number(0.5.into()));
        let extremes = since(i64::MAX.into(), i64::MIN.into(), false);
        assert_eq!(extremes, Reading::Number(1.844_674_407_370_955_2e19.into()));
    }
}
