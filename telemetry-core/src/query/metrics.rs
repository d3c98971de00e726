//! Metric queries: windows, steps and aggregation.

use std::str::FromStr;

use crate::named_enum::named_enum;
use crate::{MetricKind, Timestamp};

use super::matcher::LabelMatcher;

/// The largest number of raw points in an answer. A query for more is refused: a granularity makes it smaller.
pub const MAX_RAW_POINTS: usize = 100_000;

/// A query for the points of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricQuery {
    /// The metric's name. The exported and the bare name of a known metric mean the same series.
    pub metric: String,
    /// The start of the window, inclusive.
    pub start: Timestamp,
    /// The end of the window, inclusive.
    pub end: Timestamp,
    /// The length of a step; `None` for raw points.
    pub granularity: Option<Granularity>,
    /// One point per step, or one per series.
    pub query_type: QueryType,
    /// The labels of a series must match all of these.
    pub matchers: Vec<LabelMatcher>,
    /// How the points of a step are combined; `None` depends on the instrument.
    pub aggregation: Option<Aggregation>,
}

named_enum! {
    /// The shape of the answer.
    QueryType {
        /// One point per step, or raw points without a granularity.
        Range = "range",
        /// One point per series, at the end of the window.
        Instant = "instant",
    }
}

named_enum! {
    /// How several points are combined into one.
    Aggregation {
        /// Their sum.
        Sum = "sum",
        /// Their mean.
        Avg = "avg",
        /// The smallest.
        Min = "min",
        /// The largest.
        Max = "max",
        /// The latest.
        Last = "last",
        /// Their number.
        Count = "count",
        /// The median.
        P50 = "p50",
        /// The 90th percentile.
        P90 = "p90",
        /// The 95th percentile.
        P95 = "p95",
        /// The 99th percentile.
        P99 = "p99",
    }
}

/// The length of a step: `<n>s|m|h|d|w`, at least a second, at most 100 years of 365 days.
///
/// ```
/// use telemetry_core::query::Granularity;
///
/// assert_eq!("5m".parse::<Granularity>()?.as_seconds(), 300);
/// assert!("0s".parse::<Granularity>().is_err());
/// # Ok::<(), telemetry_core::query::GranularityError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granularity(i64);

/// A text that is not a granularity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid granularity `{text}`: expected a whole number of at least 1 and a unit (s, m, h, d, w), \
     for example `5m`, at most 100 years"
)]
pub struct GranularityError {
    /// The text, cut at 64 characters.
    pub text: String,
}

impl Granularity {
    const MAX_SECONDS: i64 = 100 * 365 * 86_400;

    /// Returns the length in seconds.
    pub const fn as_seconds(self) -> i64 {
        self.0
    }

    /// Returns the start of the step that contains `time`, in seconds since the epoch. Steps start at
    /// multiples of their length.
    pub const fn step_of(self, time: Timestamp) -> i64 {
        time.as_seconds().div_euclid(self.0) * self.0
    }
}

impl FromStr for Granularity {
    type Err = GranularityError;

    fn from_str(text: &str) -> Result<Self, GranularityError> {
        let error = || GranularityError { text: text.chars().take(64).collect() };
        let unit = text.chars().last().ok_or_else(error)?;
        let scale = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(error()),
        };
        let digits = &text[..text.len() - 1];
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(error());
        }
        let seconds = digits.parse::<i64>().ok().and_then(|n| n.checked_mul(scale)).ok_or_else(error)?;
        if (1..=Self::MAX_SECONDS).contains(&seconds) { Ok(Self(seconds)) } else { Err(error()) }
    }
}

/// One stored point of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When it was measured.
    pub time: Timestamp,
    /// Its value.
    pub value: f64,
}

/// One point of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricPointValue {
    /// Seconds since the epoch: the start of the step, the end of the window for an instant query, or the
    /// point's own time rounded down.
    pub timestamp: i64,
    /// The value.
    pub value: f64,
}

/// The points of one label set and unit.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSeries {
    /// The name asked for.
    pub metric: String,
    /// Labels in the order of their names.
    pub labels: Vec<(String, String)>,
    /// The unit.
    pub unit: String,
    /// The points, oldest first.
    pub values: Vec<MetricPointValue>,
}

/// Returns the aggregation for a kind of instrument: counters are summed, gauges take the last value,
/// histograms count.
pub const fn default_aggregation(kind: MetricKind) -> Aggregation {
    match kind {
        MetricKind::Counter | MetricKind::UpDownCounter => Aggregation::Sum,
        MetricKind::Gauge => Aggregation::Last,
        MetricKind::Histogram => Aggregation::Count,
    }
}

/// A summary of the samples of one step, from which every aggregation except quantiles can be computed.
///
/// Stores can build several summaries of a step next to their data and merge them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fold {
    /// The number of samples, at least one.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The time of the latest sample, and its number in the order of arrival.
    pub last_at: (Timestamp, i64),
    /// The value of the latest sample.
    pub last: f64,
}

impl Fold {
    /// Returns the summary of one sample with the number `arrival` in the order of arrival.
    pub const fn of(sample: Sample, arrival: i64) -> Self {
        let Sample { time, value } = sample;
        Self { count: 1, sum: value, min: value, max: value, last_at: (time, arrival), last: value }
    }

    /// Adds the samples of `other`, which must belong to the same step.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if other.last_at >= self.last_at {
            (self.last_at, self.last) = (other.last_at, other.last);
        }
    }

    /// Returns the combined value; `None` for a quantile.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub const fn value(&self, aggregation: Aggregation) -> Option<f64> {
        match aggregation {
            Aggregation::Sum => Some(self.sum),
            Aggregation::Avg => Some(self.sum / self.count as f64),
            Aggregation::Min => Some(self.min),
            Aggregation::Max => Some(self.max),
            Aggregation::Last => Some(self.last),
            Aggregation::Count => Some(self.count as f64),
            Aggregation::P50 | Aggregation::P90 | Aggregation::P95 | Aggregation::P99 => None,
        }
    }
}

/// Returns the points of one series. `samples` are its points within the window in order of time; those of
/// the same time are in order of arrival.
///
/// Raw points keep their values: an aggregation needs a step or an instant query. Without samples there are
/// no points.
pub fn aggregate(query: &MetricQuery, kind: MetricKind, samples: &[Sample]) -> Vec<MetricPointValue> {
    let aggregation = query.aggregation.unwrap_or(default_aggregation(kind));
    if samples.is_empty() {
        return Vec::new();
    }
    match (query.query_type, query.granularity) {
        (QueryType::Instant, _) => {
            vec![MetricPointValue { timestamp: query.end.as_seconds(), value: aggregation.of(samples) }]
        }
        (QueryType::Range, Some(step)) => samples
            .chunk_by(|left, right| step.step_of(left.time) == step.step_of(right.time))
            .map(|step_samples| MetricPointValue {
                timestamp: step.step_of(step_samples[0].time),
                value: aggregation.of(step_samples),
            })
            .collect(),
        (QueryType::Range, None) => samples
            .iter()
            .map(|sample| MetricPointValue { timestamp: sample.time.as_seconds(), value: sample.value })
            .collect(),
    }
}

impl Aggregation {
    /// Combines one or more samples, which are in order of time.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    fn of(self, samples: &[Sample]) -> f64 {
        let values = samples.iter().map(|sample| sample.value);
        match self {
            Self::Sum => values.sum(),
            Self::Avg => values.sum::<f64>() / samples.len() as f64,
            Self::Min => values.fold(f64::INFINITY, f64::min),
            Self::Max => values.fold(f64::NEG_INFINITY, f64::max),
            Self::Last => samples.last().map_or(0.0, |sample| sample.value),
            Self::Count => samples.len() as f64,
            Self::P50 => quantile(0.50, values.collect()),
            Self::P90 => quantile(0.90, values.collect()),
            Self::P95 => quantile(0.95, values.collect()),
            Self::P99 => quantile(0.99, values.collect()),
        }
    }
}

/// Returns the quantile with linear interpolation between neighbours, like Prometheus' `quantile`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ranks of slices"
)]
fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(pairs: &[(i64, f64)]) -> Vec<Sample> {
        let sample = |&(seconds, value): &(i64, f64)| Sample {
            time: Timestamp::from_nanos(seconds * 1_000_000_000),
            value,
        };
        pairs.iter().map(sample).collect()
    }

    fn query(
        granularity: Option<&str>,
        query_type: QueryType,
        aggregation: Option<Aggregation>,
    ) -> MetricQuery {
        MetricQuery {
            metric: "m".into(),
            start: Timestamp::from_nanos(i64::MIN),
            end: Timestamp::from_nanos(200_000_000_000),
            granularity: granularity.map(|text| text.parse().unwrap()),
            query_type,
            matchers: Vec::new(),
            aggregation,
        }
    }

    fn points(query: &MetricQuery, kind: MetricKind, pairs: &[(i64, f64)]) -> Vec<(i64, f64)> {
        aggregate(query, kind, &samples(pairs)).iter().map(|point| (point.timestamp, point.value)).collect()
    }

    #[test]
    fn steps_start_at_multiples_of_their_length_also_before_the_epoch() {
        let step = query(Some("1m"), QueryType::Range, None);
        let pairs = [(-1, 1.0), (0, 2.0), (59, 3.0), (125, 4.0)];
        assert_eq!(points(&step, MetricKind::Counter, &pairs), [(-60, 1.0), (0, 5.0), (120, 4.0)]);
        assert_eq!(points(&step, MetricKind::Gauge, &pairs), [(-60, 1.0), (0, 3.0), (120, 4.0)]);
    }

    #[test]
    fn an_instant_query_returns_one_point_at_the_end() {
        let instant = query(None, QueryType::Instant, Some(Aggregation::P50));
        assert_eq!(
            points(&instant, MetricKind::Gauge, &[(1, 1.0), (2, 2.0), (3, 9.0), (4, 4.0)]),
            [(200, 3.0)]
        );
        assert_eq!(points(&instant, MetricKind::Gauge, &[]), []);
    }

    #[test]
    fn merged_folds_agree_with_all_samples() {
        let samples = samples(&[(1, 1.5), (2, -2.0), (2, 9.0), (3, 4.0)]);
        let folds = samples.iter().zip(0..).map(|(sample, arrival)| Fold::of(*sample, arrival));
        let merged = folds.reduce(|mut all, one| {
            all.merge(&one);
            all
        });
        for aggregation in
            Aggregation::ALL.iter().filter(|aggregation| !aggregation.as_str().starts_with('p'))
        {
            assert_eq!(merged.unwrap().value(*aggregation), Some(aggregation.of(&samples)), "{aggregation}");
        }
        assert_eq!(merged.unwrap().value(Aggregation::P50), None);
    }

    #[test]
    fn invalid_granularities_are_errors() {
        for text in
            ["", "s", "5", "0s", "-1s", "1.5h", "+1s", "1y", "5 m", "1é", "99999999999999999999s", "36501d"]
        {
            assert!(text.parse::<Granularity>().is_err(), "{text:?}");
        }
        assert!("36500d".parse::<Granularity>().is_ok());
    }
}
