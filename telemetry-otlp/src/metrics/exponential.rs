//! Exponential histograms: a count, a sum, and a series per bucket that was hit.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use serde::{Deserialize, Serialize};
use telemetry_core::{MetricKind, MetricPoint, MetricValue, Timestamp};

use super::series::{Series, bound, count_value, finite};

/// Observations, counted per bucket. Bucket `i` counts those above `base^i` and up to `base^(i+1)`, where the
/// base is 2^(2^-scale).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Exponential {
    count: u64,
    sum: Option<f64>,
    scale: i32,
    zero_count: u64,
    zero_threshold: f64,
    positive: BTreeMap<i32, u64>,
    /// The buckets of negative observations, by their magnitude.
    negative: BTreeMap<i32, u64>,
}

/// Scales that are accepted. SDKs use -10 to 20.
const SCALES: std::ops::RangeInclusive<i32> = -20..=30;
/// Largest number of buckets on one side. SDKs use 160.
const MAX_BUCKETS: usize = 4_096;

impl Exponential {
    /// Checks and copies a data point.
    pub(super) fn from_point(point: &ExponentialHistogramDataPoint) -> Result<Self, String> {
        if !SCALES.contains(&point.scale) {
            return Err(format!("invalid scale {}: expected -20 to 30", point.scale));
        }
        if !point.zero_threshold.is_finite() || point.zero_threshold < 0.0 {
            return Err(format!(
                "invalid zero_threshold {}: expected a finite number of at least 0",
                point.zero_threshold
            ));
        }
        Ok(Self {
            count: point.count,
            sum: finite(point.sum)?,
            scale: point.scale,
            zero_count: point.zero_count,
            zero_threshold: point.zero_threshold,
            positive: buckets(point.positive.as_ref())?,
            negative: buckets(point.negative.as_ref())?,
        })
    }

    /// Merges buckets, so that the scale is at most `scale`.
    fn at_scale(&self, scale: i32) -> Self {
        let shift = (self.scale - scale).clamp(0, 31);
        let widen = |buckets: &BTreeMap<i32, u64>| {
            let mut wider = BTreeMap::new();
            for (&place, &count) in buckets {
                let sum = wider.entry(place >> shift).or_insert(0_u64);
                *sum = sum.saturating_add(count);
            }
            wider
        };
        let (positive, negative) = (widen(&self.positive), widen(&self.negative));
        Self { scale: self.scale.min(scale), positive, negative, ..self.clone() }
    }

    /// Moves the buckets up to `threshold` into the zero bucket.
    fn with_zero_up_to(mut self, threshold: f64) -> Self {
        let (scale, mut zero_count) = (self.scale, self.zero_count);
        for side in [&mut self.positive, &mut self.negative] {
            side.retain(|&place, count| {
                let is_above = power(scale, i64::from(place) + 1) > threshold;
                zero_count = zero_count.saturating_add(if is_above { 0 } else { *count });
                is_above
            });
        }
        Self { zero_count, ..self }
    }

    /// Returns the difference, in the wider buckets of the two. `None` after a reset.
    pub(super) fn since(&self, before: &Self) -> Option<Self> {
        let scale = self.scale.min(before.scale);
        let (now, before) =
            (self.at_scale(scale), before.at_scale(scale).with_zero_up_to(self.zero_threshold));
        Some(Self {
            count: now.count.checked_sub(before.count)?,
            sum: now.sum.map(|sum| sum - before.sum.unwrap_or(0.0)).filter(|sum| sum.is_finite()),
            scale,
            zero_count: now.zero_count.checked_sub(before.zero_count)?,
            zero_threshold: now.zero_threshold,
            positive: difference(&now.positive, &before.positive)?,
            negative: difference(&now.negative, &before.negative)?,
        })
    }

    /// Returns an upper bound for the number of metric points.
    pub(super) fn max_points(&self) -> usize {
        3 + self.positive.len() + self.negative.len()
    }

    /// Returns the points `_count`, `_sum` and `_bucket`. A bucket counts its own observations only, above `gt`
    /// and up to `le`: the bounds change with the scale, so sums up to a bound could not be added up.
    pub(super) fn points(&self, series: &Series, time: Timestamp) -> Vec<MetricPoint> {
        let counter = MetricKind::Counter;
        let mut points = vec![series.point("_count", [], time, count_value(self.count), counter)];
        points.extend(self.sum.map(|sum| series.point("_sum", [], time, MetricValue::Float(sum), counter)));
        let mut bucket = |above: f64, up_to: f64, count: u64| {
            if count > 0 {
                let labels = [("gt", bound(above)), ("le", bound(up_to))];
                points.push(series.point("_bucket", labels, time, count_value(count), counter));
            }
        };
        for (&place, &count) in self.negative.iter().rev() {
            bucket(-self.bound(i64::from(place) + 1), -self.bound(place.into()), count);
        }
        bucket(-self.zero_threshold, self.zero_threshold, self.zero_count);
        for (&place, &count) in &self.positive {
            bucket(self.bound(place.into()), self.bound(i64::from(place) + 1), count);
        }
        points
    }

    /// Returns `base^place`.
    fn bound(&self, place: i64) -> f64 {
        power(self.scale, place)
    }
}

/// Returns `base^place` for a scale.
fn power(scale: i32, place: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "places of buckets have 33 bits")]
    let place = place as f64;
    (place * f64::from(-scale).exp2()).exp2()
}

/// Checks and copies the buckets that have observations.
fn buckets(buckets: Option<&Buckets>) -> Result<BTreeMap<i32, u64>, String> {
    let Some(buckets) = buckets else { return Ok(BTreeMap::new()) };
    if buckets.bucket_counts.len() > MAX_BUCKETS {
        return Err(format!(
            "too many buckets ({}): expected at most {MAX_BUCKETS}",
            buckets.bucket_counts.len()
        ));
    }
    let hit = (0_i32..).zip(&buckets.bucket_counts).filter(|(_, count)| **count > 0);
    hit.map(|(place, count)| match buckets.offset.checked_add(place) {
        Some(place) => Ok((place, *count)),
        None => Err(format!("the offset {} is too large for its buckets", buckets.offset)),
    })
    .collect()
}

/// Returns what was added to each bucket. `None` if one shrank.
fn difference(now: &BTreeMap<i32, u64>, before: &BTreeMap<i32, u64>) -> Option<BTreeMap<i32, u64>> {
    if before.iter().any(|(place, count)| now.get(place).is_none_or(|now| now < count)) {
        return None;
    }
    let grown = now.iter().map(|(place, count)| (*place, count - before.get(place).unwrap_or(&0)));
    Some(grown.filter(|(_, added)| *added > 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exponential(scale: i32, offset: i32, counts: &[u64]) -> Exponential {
        let positive = Some(Buckets { offset, bucket_counts: counts.into() });
        let count = counts.iter().sum();
        Exponential::from_point(&ExponentialHistogramDataPoint {
            count,
            scale,
            positive,
            ..Default::default()
        })
        .unwrap()
    }

    #[test]
    fn a_coarser_scale_is_not_a_reset() {
        // At scale 1 the buckets are (1, √2], (√2, 2], (2, 2√2]; at scale 0 (1, 2], (2, 4].
        let (before, now) = (exponential(1, 0, &[1, 2, 3]), exponential(0, 0, &[4, 3]));
        assert_eq!(now.since(&before), Some(exponential(0, 0, &[1])));
        assert_eq!(exponential(0, 0, &[1]).since(&now), None, "a reset");
    }

    #[test]
    fn a_wider_zero_bucket_is_not_a_reset() {
        let before = exponential(0, -4, &[2, 0, 0, 0, 1]);
        let now = Exponential { count: 4, zero_count: 2, zero_threshold: 0.5, ..exponential(0, 0, &[2]) };
        let added = Exponential { zero_threshold: 0.5, ..exponential(0, 0, &[1]) };
        assert_eq!(now.since(&before), Some(added));
    }

    #[test]
    fn bounds_follow_the_scale() {
        let histogram = exponential(0, -1, &[1]);
        assert_eq!([-1, 0, 1, 3].map(|place| bound(histogram.bound(place))), ["0.5", "1", "2", "8"]);
        assert_eq!(bound(exponential(-1, 0, &[]).bound(2)), "16");
        assert_eq!(bound(exponential(1, 0, &[]).bound(2)), "2");
        assert_eq!(bound(exponential(-20, 0, &[]).bound(1)), "+Inf");
    }

    #[test]
    fn invalid_points_are_rejected() {
        let of = |point| Exponential::from_point(&point).is_err();
        let default = ExponentialHistogramDataPoint::default;
        assert!(of(ExponentialHistogramDataPoint { scale: i32::MIN, ..default() }));
        assert!(of(ExponentialHistogramDataPoint { zero_threshold: f64::NAN, ..default() }));
        let high = Some(Buckets { offset: i32::MAX, bucket_counts: vec![1, 1] });
        assert!(of(ExponentialHistogramDataPoint { positive: high, ..default() }));
    }
}
