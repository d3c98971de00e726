//! The reading of a data point, and what was added since the reading before.

use serde::{Deserialize, Serialize};
use telemetry_core::{MetricPoint, MetricValue, Timestamp};

use super::exponential::Exponential;
use super::histogram::Histogram;
use super::series::Series;

/// A data point of a cumulative stream. [`Streams`](crate::Streams) turns it into what was added since the
/// point before.
#[derive(Debug)]
pub struct CumulativePoint {
    pub(super) stream: u128,
    pub(super) series: Series,
    pub(super) time: Timestamp,
    pub(super) reading: Reading,
}

/// The value of a data point. Stores keep it as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Reading {
    /// The number of a sum or a gauge.
    Number(MetricValue),
    /// A histogram with explicit bounds, or a summary.
    Histogram(Histogram),
    /// An exponential histogram.
    Exponential(Exponential),
}

impl Reading {
    /// Returns the name of the variant. It is part of the id of a stream.
    pub(super) const fn shape(&self) -> &'static str {
        match self {
            Self::Number(_) => "number",
            Self::Histogram(_) => "histogram",
            Self::Exponential(_) => "exponential",
        }
    }

    /// Returns what was added since `before`. A reading that fell although it can only grow was reset, and
    /// counts from zero (OTLP data model, "Resets and gaps").
    pub(super) fn since(&self, before: &Self, is_monotonic: bool) -> Self {
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

    /// Returns an upper bound for the number of metric points.
    pub(super) fn max_points(&self) -> usize {
        match self {
            Self::Number(_) => 1,
            Self::Histogram(histogram) => histogram.max_points(),
            Self::Exponential(histogram) => histogram.max_points(),
        }
    }

    /// Returns the metric points to store.
    pub(super) fn points(&self, series: &Series, time: Timestamp) -> Vec<MetricPoint> {
        match self {
            Self::Number(value) => vec![series.point("", [], time, *value, series.kind)],
            Self::Histogram(histogram) => histogram.points(series, time),
            Self::Exponential(histogram) => histogram.points(series, time),
        }
    }
}

/// Returns the difference. `None` after a reset.
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
    fn only_the_growth_of_a_sum_is_added() {
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
