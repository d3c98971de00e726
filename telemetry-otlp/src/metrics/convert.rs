//! Converts the data points of metrics.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, Metric, NumberDataPoint, SummaryDataPoint, metric,
    number_data_point,
};
use telemetry_core::{MetricKind, MetricPoint, MetricValue, Submission, Timestamp, known_metric};

use super::exponential::Exponential;
use super::histogram::Histogram;
use super::reading::{CumulativePoint, Reading};
use super::series::Series;
use crate::attributes::{CopyBudget, Sender};
use crate::records::{Rejections, ResourceRecords, for_each, time};

/// Converts the metrics of a request that arrived at `now`: to points that can be stored as they are, and to
/// those that need the point before.
pub(crate) fn convert(
    resources: Vec<ResourceRecords<Metric>>,
    now: Timestamp,
    budget: &CopyBudget,
    rejections: &mut Rejections,
) -> (Vec<Submission>, Vec<CumulativePoint>) {
    let (mut submissions, mut cumulative) = (Vec::new(), Vec::new());
    for_each(resources, budget, |metric, sender| {
        let (submissions, cumulative) = (&mut submissions, &mut cumulative);
        Converter { sender, now, submissions, cumulative, rejections }.metric(metric);
    });
    (submissions, cumulative)
}

/// What the points of a metric count from: the point before, or the start of the stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Temporality {
    Delta,
    Cumulative,
}

impl Temporality {
    fn from_number(number: i32) -> Result<Self, String> {
        match AggregationTemporality::try_from(number) {
            Ok(AggregationTemporality::Delta) => Ok(Self::Delta),
            Ok(AggregationTemporality::Cumulative) => Ok(Self::Cumulative),
            Ok(AggregationTemporality::Unspecified) | Err(_) => {
                Err(format!("invalid aggregation_temporality {number}: expected 1 (delta) or 2 (cumulative)"))
            }
        }
    }
}

/// Counts the points of a metric.
fn count_points(data: &metric::Data) -> u64 {
    let count = match data {
        metric::Data::Gauge(gauge) => gauge.data_points.len(),
        metric::Data::Sum(sum) => sum.data_points.len(),
        metric::Data::Histogram(histogram) => histogram.data_points.len(),
        metric::Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
        metric::Data::Summary(summary) => summary.data_points.len(),
    };
    count as u64
}

/// Returns true for a point that is flagged "no recorded value".
const fn has_no_value(flags: u32) -> bool {
    flags & DataPointFlags::NoRecordedValueMask as u32 != 0
}

/// The start and the time of a data point.
struct Times {
    start: u64,
    time: Timestamp,
}

/// Converts the metrics of one sender.
struct Converter<'a> {
    sender: &'a Sender<'a>,
    now: Timestamp,
    submissions: &'a mut Vec<Submission>,
    cumulative: &'a mut Vec<CumulativePoint>,
    rejections: &'a mut Rejections,
}

impl Converter<'_> {
    fn metric(&mut self, metric: Metric) {
        let Metric { name, unit, data, .. } = metric;
        let Some(data) = data else {
            return self.rejections.add(format!("metric `{name}` has no data"));
        };
        if name.is_empty() {
            return self.rejections.add_many(count_points(&data), "a metric has no name");
        }
        match data {
            metric::Data::Gauge(gauge) => {
                self.each(&name, gauge.data_points, |this, point| {
                    this.number(&name, &unit, point, MetricKind::Gauge, Temporality::Delta)
                });
            }
            metric::Data::Sum(sum) => {
                let kind = if sum.is_monotonic { MetricKind::Counter } else { MetricKind::UpDownCounter };
                self.each(&name, sum.data_points, |this, point| {
                    let temporality = Temporality::from_number(sum.aggregation_temporality)?;
                    this.sum(&name, &unit, point, kind, temporality)
                });
            }
            metric::Data::Histogram(histogram) => {
                self.each(&name, histogram.data_points, |this, point| {
                    if has_no_value(point.flags) {
                        return Ok(());
                    }
                    let temporality = Temporality::from_number(histogram.aggregation_temporality)?;
                    let times = this.times(point.start_time_unix_nano, point.time_unix_nano)?;
                    let extremes = [("_min", point.min), ("_max", point.max)];
                    let reading = Reading::Histogram(Histogram::from_point(&point)?);
                    let points = reading.max_points() + extremes.len();
                    let series = this.series(&name, &unit, MetricKind::Counter, point.attributes, points)?;
                    this.extremes(&series, times.time, extremes);
                    this.reading(series, &times, reading, temporality);
                    Ok(())
                });
            }
            metric::Data::ExponentialHistogram(histogram) => {
                self.each(&name, histogram.data_points, |this, point| {
                    if has_no_value(point.flags) {
                        return Ok(());
                    }
                    let temporality = Temporality::from_number(histogram.aggregation_temporality)?;
                    let times = this.times(point.start_time_unix_nano, point.time_unix_nano)?;
                    let extremes = [("_min", point.min), ("_max", point.max)];
                    let reading = Reading::Exponential(Exponential::from_point(&point)?);
                    let points = reading.max_points() + extremes.len();
                    let series = this.series(&name, &unit, MetricKind::Counter, point.attributes, points)?;
                    this.extremes(&series, times.time, extremes);
                    this.reading(series, &times, reading, temporality);
                    Ok(())
                });
            }
            metric::Data::Summary(summary) => {
                self.each(&name, summary.data_points, |this, point| this.summary(&name, &unit, point));
            }
        }
    }

    /// Converts each point with `convert`, and rejects those that it can't convert.
    fn each<P>(&mut self, name: &str, points: Vec<P>, convert: impl Fn(&mut Self, P) -> Result<(), String>) {
        for point in points {
            if let Err(reason) = convert(self, point) {
                self.rejections.add(format!("metric `{name}`: {reason}"));
            }
        }
    }

    fn times(&self, start: u64, nanos: u64) -> Result<Times, String> {
        let time = time("time_unix_nano", nanos)?.unwrap_or(self.now);
        Ok(Times { start, time })
    }

    /// Returns the series of a data point that becomes `points` metric points at most.
    fn series(
        &self,
        name: &str,
        unit: &str,
        kind: MetricKind,
        attributes: Vec<KeyValue>,
        points: usize,
    ) -> Result<Series, String> {
        let (attributes, _) = self.sender.attributes(attributes, Vec::new())?;
        self.sender.reserve_copies(&attributes, points)?;
        Ok(Series {
            name: name.to_owned(),
            unit: unit.to_owned(),
            kind,
            attributes,
            service_name: Arc::clone(self.sender.service_name()),
            arrived: self.now,
        })
    }

    /// Converts a point of a sum. A cumulative sum that may fall is a gauge if its metric is known as a gauge.
    fn sum(
        &mut self,
        name: &str,
        unit: &str,
        point: NumberDataPoint,
        kind: MetricKind,
        temporality: Temporality,
    ) -> Result<(), String> {
        let is_level = kind == MetricKind::UpDownCounter && temporality == Temporality::Cumulative;
        if is_level && known_metric(name).is_some_and(|known| known.kind == MetricKind::Gauge) {
            return self.number(name, unit, point, MetricKind::Gauge, Temporality::Delta);
        }
        self.number(name, unit, point, kind, temporality)
    }

    /// Converts a number of a sum or a gauge.
    fn number(
        &mut self,
        name: &str,
        unit: &str,
        point: NumberDataPoint,
        kind: MetricKind,
        temporality: Temporality,
    ) -> Result<(), String> {
        if has_no_value(point.flags) {
            return Ok(());
        }
        let value = match point.value {
            Some(number_data_point::Value::AsInt(number)) => MetricValue::Int(number),
            Some(number_data_point::Value::AsDouble(number)) if number.is_finite() => {
                MetricValue::Float(number)
            }
            Some(number_data_point::Value::AsDouble(number)) => {
                return Err(format!("the value {number} is not finite"));
            }
            None => return Err("a data point has no value that is a finite number".into()),
        };
        if kind == MetricKind::Counter && value.as_f64() < 0.0 {
            return Err(format!("the value {} of a monotonic sum is negative", value.as_f64()));
        }
        let times = self.times(point.start_time_unix_nano, point.time_unix_nano)?;
        let series = self.series(name, unit, kind, point.attributes, 1)?;
        self.reading(series, &times, Reading::Number(value), temporality);
        Ok(())
    }

    /// Converts a point of a summary. It counts from its start, and its quantiles are gauges.
    fn summary(&mut self, name: &str, unit: &str, point: SummaryDataPoint) -> Result<(), String> {
        if has_no_value(point.flags) {
            return Ok(());
        }
        let times = self.times(point.start_time_unix_nano, point.time_unix_nano)?;
        let reading = Reading::Histogram(Histogram::without_buckets(point.count, point.sum)?);
        let points = reading.max_points() + point.quantile_values.len();
        let series = self.series(name, unit, MetricKind::Counter, point.attributes, points)?;
        for quantile in point.quantile_values.iter().filter(|quantile| quantile.value.is_finite()) {
            let label = [("quantile", quantile.quantile.to_string())];
            let value = MetricValue::Float(quantile.value);
            self.push(series.point("", label, times.time, value, MetricKind::Gauge));
        }
        self.reading(series, &times, reading, Temporality::Cumulative);
        Ok(())
    }

    /// Adds gauges for the smallest and the largest observation, where the sender reports them.
    fn extremes(&mut self, series: &Series, time: Timestamp, extremes: [(&str, Option<f64>); 2]) {
        for (suffix, value) in extremes {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                self.push(series.point(suffix, [], time, MetricValue::Float(value), MetricKind::Gauge));
            }
        }
    }

    fn reading(&mut self, series: Series, times: &Times, reading: Reading, temporality: Temporality) {
        match temporality {
            Temporality::Delta => {
                for point in reading.points(&series, times.time) {
                    self.push(point);
                }
            }
            Temporality::Cumulative => {
                let stream = series.stream_id(times.start, reading.shape());
                self.cumulative.push(CumulativePoint { stream, series, time: times.time, reading });
            }
        }
    }

    fn push(&mut self, point: MetricPoint) {
        self.submissions.push(Submission::Metric(Box::new(point)));
    }
}
