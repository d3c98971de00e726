//! Metrics: what is measured per interval is stored as it is; cumulative streams become increments
//! in [`super::streams`].

mod exponential;
mod histogram;
mod reading;

use std::sync::Arc;

use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, Metric, NumberDataPoint, SummaryDataPoint, metric,
    number_data_point,
};
use telemetry_core::{
    Attributes, EventContext, MetricKind, MetricPoint, MetricValue, Submission, Text, Timestamp, Ttl, Value,
    known_metric,
};
use xxhash_rust::xxh3::xxh3_128;

use super::value::Sender;
use super::{Encoding, Group, Refusal, Rejections, json, protobuf, time};
use histogram::Histogram;
pub(super) use reading::Reading;

/// The data points of a request.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Those that say by themselves what is to be stored.
    pub(crate) ready: Vec<Submission>,
    /// Those that say it together with the point before.
    pub(crate) cumulative: Vec<Cumulative>,
}

/// A point of a cumulative stream.
#[derive(Debug)]
pub(crate) struct Cumulative {
    pub(super) stream: u128,
    pub(super) series: Series,
    pub(super) time: Timestamp,
    pub(super) reading: Reading,
}

/// What the points of a stream share.
#[derive(Debug)]
pub(super) struct Series {
    name: String,
    unit: String,
    kind: MetricKind,
    attributes: Attributes,
    service_name: Arc<str>,
    arrived: Timestamp,
}

impl Series {
    /// The instrument.
    pub(super) const fn kind(&self) -> MetricKind {
        self.kind
    }

    /// A measurement of `name` + `suffix`, with one more label.
    fn point(
        &self,
        suffix: &str,
        labels: impl IntoIterator<Item = (&'static str, String)>,
        time: Timestamp,
        value: MetricValue,
        kind: MetricKind,
    ) -> MetricPoint {
        let mut attributes = self.attributes.clone();
        attributes
            .merge(labels.into_iter().map(|(key, text)| (Text::from(key), Value::from(text))).collect());
        // A count is of observations, whatever their unit.
        let unit = if matches!(suffix, "_count" | "_bucket") { "1".to_owned() } else { self.unit.clone() };
        MetricPoint {
            context: EventContext::None,
            timestamp: time,
            name: format!("{}{suffix}", self.name).into(),
            value,
            unit: unit.into(),
            kind: Some(kind),
            attributes,
            service_name: Some(Arc::clone(&self.service_name)),
            arrived: self.arrived,
            ttl: Ttl::default(),
            stream: None,
        }
    }

    /// What tells this stream from every other, the same after a restart of either side.
    fn stream(&self, start: u64, shape: &str) -> u128 {
        let pair = |attribute| serde_json::to_string(attribute).unwrap_or_default();
        let mut parts: Vec<String> = self.attributes.iter().map(pair).collect();
        parts.sort_unstable();
        let of_metric = (&self.name, &self.unit, self.kind, start, shape, self.service_name.as_ref());
        parts.push(serde_json::to_string(&of_metric).unwrap_or_default());
        xxh3_128(parts.join("\n").as_bytes())
    }
}

/// The metrics of a request that arrived at `now`.
pub(crate) fn read(
    encoding: Encoding,
    body: &[u8],
    limit: usize,
    now: Timestamp,
    rejected: &mut Rejections,
) -> Result<Metrics, Refusal> {
    let groups = match encoding {
        Encoding::Protobuf => protobuf::metrics(body, limit)?,
        Encoding::Json => json::metrics(body, limit, rejected)?,
    };
    let mut metrics = Metrics::default();
    for Group { resource, scope, records } in groups {
        let sender = Sender::new(resource, scope);
        for metric in records {
            Reader { sender: &sender, now, metrics: &mut metrics, rejected }.metric(metric);
        }
    }
    Ok(metrics)
}

/// How the points of a metric relate to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Temporality {
    Delta,
    Cumulative,
}

impl Temporality {
    fn of(number: i32) -> Result<Self, String> {
        match AggregationTemporality::try_from(number) {
            Ok(AggregationTemporality::Delta) => Ok(Self::Delta),
            Ok(AggregationTemporality::Cumulative) => Ok(Self::Cumulative),
            Ok(AggregationTemporality::Unspecified) | Err(_) => {
                Err(format!("aggregation_temporality {number} is neither delta (1) nor cumulative (2)"))
            }
        }
    }
}

/// How many points a metric has.
fn count(data: &metric::Data) -> u64 {
    let count = match data {
        metric::Data::Gauge(gauge) => gauge.data_points.len(),
        metric::Data::Sum(sum) => sum.data_points.len(),
        metric::Data::Histogram(histogram) => histogram.data_points.len(),
        metric::Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
        metric::Data::Summary(summary) => summary.data_points.len(),
    };
    count as u64
}

const fn has_no_value(flags: u32) -> bool {
    flags & DataPointFlags::NoRecordedValueMask as u32 != 0
}

/// When a point was measured, and since when it counts.
struct Span {
    start: u64,
    time: Timestamp,
}

struct Reader<'a> {
    sender: &'a Sender,
    now: Timestamp,
    metrics: &'a mut Metrics,
    rejected: &'a mut Rejections,
}

impl Reader<'_> {
    fn metric(&mut self, metric: Metric) {
        let Metric { name, unit, data, .. } = metric;
        let Some(data) = data else {
            return self.rejected.add(format!("metric `{name}` has no data"));
        };
        if name.is_empty() {
            return self.rejected.add_many(count(&data), "a metric has no name");
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
                    let temporality = Temporality::of(sum.aggregation_temporality)?;
                    this.sum(&name, &unit, point, kind, temporality)
                });
            }
            metric::Data::Histogram(histogram) => {
                self.each(&name, histogram.data_points, |this, point| {
                    if has_no_value(point.flags) {
                        return Ok(());
                    }
                    let temporality = Temporality::of(histogram.aggregation_temporality)?;
                    let span = this.span(point.start_time_unix_nano, point.time_unix_nano)?;
                    let extremes = [("_min", point.min), ("_max", point.max)];
                    let reading = Reading::Histogram(Histogram::of(&point)?);
                    let series = this.series(&name, &unit, MetricKind::Counter, point.attributes);
                    this.gauges(&series, span.time, extremes);
                    this.reading(series, &span, reading, temporality);
                    Ok(())
                });
            }
            metric::Data::ExponentialHistogram(histogram) => {
                self.each(&name, histogram.data_points, |this, point| {
                    if has_no_value(point.flags) {
                        return Ok(());
                    }
                    let temporality = Temporality::of(histogram.aggregation_temporality)?;
                    let span = this.span(point.start_time_unix_nano, point.time_unix_nano)?;
                    let extremes = [("_min", point.min), ("_max", point.max)];
                    let reading = Reading::Exponential(exponential::Exponential::of(&point)?);
                    let series = this.series(&name, &unit, MetricKind::Counter, point.attributes);
                    this.gauges(&series, span.time, extremes);
                    this.reading(series, &span, reading, temporality);
                    Ok(())
                });
            }
            metric::Data::Summary(summary) => {
                self.each(&name, summary.data_points, |this, point| this.summary(&name, &unit, point));
            }
        }
    }

    fn each<P>(&mut self, name: &str, points: Vec<P>, read: impl Fn(&mut Self, P) -> Result<(), String>) {
        for point in points {
            if let Err(reason) = read(self, point) {
                self.rejected.add(format!("metric `{name}`: {reason}"));
            }
        }
    }

    fn span(&self, start: u64, at: u64) -> Result<Span, String> {
        let time = time("time_unix_nano", at)?.unwrap_or(self.now);
        Ok(Span { start, time })
    }

    fn series(
        &self,
        name: &str,
        unit: &str,
        kind: MetricKind,
        attributes: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>,
    ) -> Series {
        Series {
            name: name.to_owned(),
            unit: unit.to_owned(),
            kind,
            attributes: self.sender.attributes(attributes, Vec::new()).0,
            service_name: Arc::clone(&self.sender.service_name),
            arrived: self.now,
        }
    }

    /// A point of a sum. A known gauge that comes as a cumulative sum which may fall is that gauge.
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
                return Err(format!("{number} is not finite"));
            }
            None => return Err("a data point has no value, or none that is a finite number".into()),
        };
        if kind == MetricKind::Counter && value.as_f64() < 0.0 {
            return Err(format!("{} is negative, which no point of a monotonic sum is", value.as_f64()));
        }
        let span = self.span(point.start_time_unix_nano, point.time_unix_nano)?;
        let series = self.series(name, unit, kind, point.attributes);
        self.reading(series, &span, Reading::Number(value), temporality);
        Ok(())
    }

    /// A summary counts from its start; its quantiles are gauges.
    fn summary(&mut self, name: &str, unit: &str, point: SummaryDataPoint) -> Result<(), String> {
        if has_no_value(point.flags) {
            return Ok(());
        }
        let span = self.span(point.start_time_unix_nano, point.time_unix_nano)?;
        let reading = Reading::Histogram(Histogram::without_buckets(point.count, point.sum)?);
        let series = self.series(name, unit, MetricKind::Counter, point.attributes);
        for quantile in point.quantile_values.iter().filter(|quantile| quantile.value.is_finite()) {
            let label = [("quantile", quantile.quantile.to_string())];
            let value = MetricValue::Float(quantile.value);
            self.push(series.point("", label, span.time, value, MetricKind::Gauge));
        }
        self.reading(series, &span, reading, Temporality::Cumulative);
        Ok(())
    }

    /// The smallest and the largest observation, where the sender told them.
    fn gauges(&mut self, series: &Series, time: Timestamp, extremes: [(&str, Option<f64>); 2]) {
        for (suffix, value) in extremes {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                self.push(series.point(suffix, [], time, MetricValue::Float(value), MetricKind::Gauge));
            }
        }
    }

    fn reading(&mut self, series: Series, span: &Span, reading: Reading, temporality: Temporality) {
        match temporality {
            Temporality::Delta => {
                for point in reading.points(&series, span.time) {
                    self.push(point);
                }
            }
            Temporality::Cumulative => {
                let stream = series.stream(span.start, reading.shape());
                self.metrics.cumulative.push(Cumulative { stream, series, time: span.time, reading });
            }
        }
    }

    fn push(&mut self, point: MetricPoint) {
        self.metrics.ready.push(Submission::Metric(Box::new(point)));
    }
}
