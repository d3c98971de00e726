//! Histograms with explicit bounds: a count, a sum, and a series per bucket.

use opentelemetry_proto::tonic::metrics::v1::HistogramDataPoint;
use serde::{Deserialize, Serialize};
use telemetry_core::{MetricKind, MetricPoint, MetricValue, Timestamp};

use super::series::{Series, bound, count_value, finite};

/// Observations, counted per bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Histogram {
    count: u64,
    sum: Option<f64>,
    /// Upper bounds in rising order, one fewer than there are buckets. Empty without buckets.
    bounds: Vec<f64>,
    buckets: Vec<u64>,
}

impl Histogram {
    /// Checks and copies a data point.
    pub(super) fn from_point(point: &HistogramDataPoint) -> Result<Self, String> {
        let (bounds, buckets) = (&point.explicit_bounds, &point.bucket_counts);
        if !buckets.is_empty() && buckets.len() != bounds.len() + 1 {
            return Err(format!(
                "{} buckets do not match {} bounds: expected one bucket more than bounds",
                buckets.len(),
                bounds.len()
            ));
        }
        if bounds.iter().any(|bound| bound.is_nan()) || !bounds.is_sorted_by(|a, b| a < b) {
            return Err("the bounds are not in rising order".into());
        }
        let (mut bounds, mut buckets) =
            if buckets.is_empty() { (Vec::new(), Vec::new()) } else { (bounds.clone(), buckets.clone()) };
        if bounds.pop_if(|bound| *bound == f64::INFINITY).is_some() {
            // The last bucket has this bound anyway: nothing is above it.
            let above = buckets.pop().unwrap_or_default();
            buckets.last_mut().into_iter().for_each(|last| *last = last.saturating_add(above));
        }
        Ok(Self { count: point.count, sum: finite(point.sum)?, bounds, buckets })
    }

    /// Returns a histogram without buckets, for a summary.
    pub(super) fn without_buckets(count: u64, sum: f64) -> Result<Self, String> {
        Ok(Self { count, sum: finite(Some(sum))?, bounds: Vec::new(), buckets: Vec::new() })
    }

    /// Returns the difference. `None` after a reset, and if the bounds have changed.
    pub(super) fn since(&self, before: &Self) -> Option<Self> {
        if self.bounds != before.bounds || self.buckets.len() != before.buckets.len() {
            return None;
        }
        let buckets = self.buckets.iter().zip(&before.buckets).map(|(now, before)| now.checked_sub(*before));
        let sum = self.sum.map(|now| now - before.sum.unwrap_or(0.0)).filter(|sum| sum.is_finite());
        Some(Self {
            count: self.count.checked_sub(before.count)?,
            sum,
            bounds: self.bounds.clone(),
            buckets: buckets.collect::<Option<_>>()?,
        })
    }

    /// Returns an upper bound for the number of metric points.
    pub(super) fn max_points(&self) -> usize {
        2 + self.buckets.len()
    }

    /// Returns the points `_count`, `_sum` and `_bucket`. A bucket counts the observations up to its bound `le`.
    /// A bucket without observations has no point.
    pub(super) fn points(&self, series: &Series, time: Timestamp) -> Vec<MetricPoint> {
        let point = |suffix, le: Option<String>, value| {
            series.point(suffix, le.map(|le| ("le", le)), time, value, MetricKind::Counter)
        };
        let mut points = vec![point("_count", None, count_value(self.count))];
        points.extend(self.sum.map(|sum| point("_sum", None, MetricValue::Float(sum))));
        let mut below = 0_u64;
        for (place, count) in self.buckets.iter().enumerate() {
            below = below.saturating_add(*count);
            if below > 0 {
                let le = bound(self.bounds.get(place).copied().unwrap_or(f64::INFINITY));
                points.push(point("_bucket", Some(le), count_value(below)));
            }
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: [u64; 3], sum: f64) -> Histogram {
        Histogram {
            count: buckets.iter().sum(),
            sum: Some(sum),
            bounds: vec![0.1, 1.0],
            buckets: buckets.into(),
        }
    }

    #[test]
    fn each_bucket_adds_what_it_grew_by() {
        let (before, now) = (histogram([1, 0, 2], 5.0), histogram([1, 3, 2], 6.5));
        assert_eq!(now.since(&before), Some(histogram([0, 3, 0], 1.5)));
        assert_eq!(before.since(&now), None, "a reset");
    }

    #[test]
    fn an_explicit_last_bound_of_infinity_is_the_implicit_one() {
        let point = HistogramDataPoint {
            explicit_bounds: vec![0.1, 1.0, f64::INFINITY],
            bucket_counts: vec![1, 2, 3, 4],
            count: 10,
            sum: Some(5.0),
            ..HistogramDataPoint::default()
        };
        assert_eq!(Histogram::from_point(&point), Ok(histogram([1, 2, 7], 5.0)));
        assert_eq!([f64::INFINITY, f64::NEG_INFINITY, -0.0, 2.5].map(bound), ["+Inf", "-Inf", "0", "2.5"]);
    }

    #[test]
    fn bounds_that_do_not_match_are_rejected() {
        let point = |bounds: &[f64], buckets: &[u64]| HistogramDataPoint {
            explicit_bounds: bounds.into(),
            bucket_counts: buckets.into(),
            ..HistogramDataPoint::default()
        };
        assert!(Histogram::from_point(&point(&[1.0, 2.0], &[0, 0, 0])).is_ok());
        assert!(Histogram::from_point(&point(&[], &[])).is_ok());
        for (bounds, buckets) in [
            (&[1.0][..], &[0_u64][..]),
            (&[2.0, 1.0], &[0, 0, 0]),
            (&[f64::NAN], &[0, 0]),
            (&[1.0, 1.0], &[0, 0, 0]),
        ] {
            assert!(Histogram::from_point(&point(bounds, buckets)).is_err(), "{bounds:?}");
        }
    }
}
