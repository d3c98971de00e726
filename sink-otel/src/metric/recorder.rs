//! Records metric points in the SDK's instruments: one meter per service, one instrument per metric.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, MeterProvider as _, UpDownCounter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Stream, Temporality,
};
use telemetry_core::{Attributes, Instruments, MetricKind, MetricPoint, canonical_name, known_metric};

use crate::config::MetricConfig;
use crate::convert::{key_value, own_scope};
use crate::metric::histograms::{Derived, bounds, derived};

/// Number of metrics per service. Names should come from code, not from data, so more are a mistake.
const MAX_METRICS: usize = 2_000;
/// OpenTelemetry's limits for the name and the unit of an instrument.
const MAX_NAME: usize = 255;
const MAX_UNIT: usize = 63;
/// The metric that counts the points beyond the cardinality limit.
const OVERFLOW: &str = "telemetry_metric_overflow_total";

/// Records the metric points of one service.
#[derive(Debug)]
pub(super) struct Recorder {
    meter: Meter,
    /// Keeps the instruments alive.
    _provider: SdkMeterProvider,
    reader: SharedReader,
    rules: Instruments,
    instruments: HashMap<String, TrackedInstrument>,
    config: MetricConfig,
    hasher: RandomState,
    overflow: Counter<f64>,
    /// Number of points since the latest successful export.
    pub(super) unsent: u64,
    /// Number of points beyond the cardinality limit since the start.
    pub(super) overflowed: u64,
}

/// An instrument and hashes of the label sets that it has recorded, up to the cardinality limit.
#[derive(Debug)]
struct TrackedInstrument {
    instrument: AnyInstrument,
    series: HashSet<u64>,
}

/// An instrument of any kind. All numbers are doubles, because OTLP requires one type per metric and
/// programs log both integers and fractions.
#[derive(Debug)]
enum AnyInstrument {
    Counter(Counter<f64>),
    UpDownCounter(UpDownCounter<f64>),
    Gauge(Gauge<f64>),
    Histogram(Histogram<f64>),
}

impl Recorder {
    pub(super) fn new(resource: Resource, config: &MetricConfig) -> Self {
        let reader =
            SharedReader(Arc::new(ManualReader::builder().with_temporality(config.temporality).build()));
        let limit = config.cardinality_limit;
        let provider = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_reader(reader.clone())
            .with_view(move |instrument: &Instrument| view(instrument, limit))
            .build();
        let meter = provider.meter_with_scope(own_scope());
        let overflow = meter
            .f64_counter(OVERFLOW)
            .with_description("Metric points that went to the overflow series of their metric.")
            .build();
        Self {
            meter,
            _provider: provider,
            reader,
            rules: Instruments::default(),
            instruments: HashMap::new(),
            config: config.clone(),
            hasher: RandomState::new(),
            overflow,
            unsent: 0,
            overflowed: 0,
        }
    }

    /// Records a point, and the points of the histograms that derive from it.
    ///
    /// # Errors
    ///
    /// The reason why no instrument can record the point.
    pub(super) fn record(&mut self, point: &MetricPoint) -> Result<(), String> {
        let name = canonical_name(&point.name);
        check_name(name)?;
        check_unit(&point.unit)?;
        if !self.instruments.contains_key(name) && self.instruments.len() >= MAX_METRICS {
            return Err(format!("there are already {MAX_METRICS} metrics, the maximum"));
        }
        let bound = self
            .rules
            .bind(&point.name, point.kind, point.value, &point.unit)
            .map_err(|error| error.to_string())?;
        let (kind, unit) = (bound.kind, bound.unit.clone());
        let attributes: Vec<_> = point.attributes.iter().map(key_value).collect();
        let series = series_hash(&self.hasher, &point.attributes);
        let value = point.value.as_f64();
        self.add(name, kind, &unit, series, value, &attributes);
        if let Some(version) = self.config.histograms {
            for Derived { name, unit, attributes } in derived(point, version) {
                // The program may log another kind of metric under this name.
                let bound = self.rules.bind(name, Some(MetricKind::Histogram), point.value, unit);
                if bound.is_ok() {
                    self.add(name, MetricKind::Histogram, unit, series, value, &attributes);
                }
            }
        }
        self.unsent += 1;
        Ok(())
    }

    fn add(
        &mut self,
        name: &str,
        kind: MetricKind,
        unit: &str,
        series: u64,
        value: f64,
        attributes: &[KeyValue],
    ) {
        if !self.instruments.contains_key(name) {
            let instrument = new_instrument(&self.meter, name, kind, unit);
            self.instruments
                .insert(name.to_owned(), TrackedInstrument { instrument, series: HashSet::new() });
        }
        let tracked = self.instruments.get_mut(name).expect("inserted if it was missing");
        if !tracked.series.contains(&series) {
            if tracked.series.len() < self.config.cardinality_limit {
                tracked.series.insert(series);
            } else {
                self.overflowed += 1;
                self.overflow.add(1.0, &[KeyValue::new("metric", name.to_owned())]);
            }
        }
        match &tracked.instrument {
            AnyInstrument::Counter(counter) => counter.add(value, attributes),
            AnyInstrument::UpDownCounter(counter) => counter.add(value, attributes),
            AnyInstrument::Gauge(gauge) => gauge.record(value, attributes),
            AnyInstrument::Histogram(histogram) => histogram.record(value, attributes),
        }
    }

    /// Collects the aggregates for an export.
    pub(super) fn collect(&mut self) -> Result<ResourceMetrics, String> {
        let mut metrics = ResourceMetrics::default();
        self.reader.collect(&mut metrics).map_err(|error| error.to_string())?;
        // The SDK drops the label sets of delta metrics after each collection.
        for tracked in self.instruments.values_mut() {
            if tracked.instrument.resets(self.config.temporality) {
                tracked.series.clear();
            }
        }
        Ok(metrics)
    }
}

impl AnyInstrument {
    /// Returns true if the SDK starts again without label sets after each collection.
    fn resets(&self, temporality: Temporality) -> bool {
        match self {
            Self::Counter(_) | Self::Histogram(_) => temporality != Temporality::Cumulative,
            Self::Gauge(_) => temporality == Temporality::Delta,
            Self::UpDownCounter(_) => false,
        }
    }
}

fn new_instrument(meter: &Meter, name: &str, kind: MetricKind, unit: &str) -> AnyInstrument {
    let (name, unit) = (name.to_owned(), unit.to_owned());
    let help = known_metric(&name).map_or("", |known| known.help);
    match kind {
        MetricKind::Counter => {
            AnyInstrument::Counter(meter.f64_counter(name).with_unit(unit).with_description(help).build())
        }
        MetricKind::UpDownCounter => AnyInstrument::UpDownCounter(
            meter.f64_up_down_counter(name).with_unit(unit).with_description(help).build(),
        ),
        MetricKind::Gauge => {
            AnyInstrument::Gauge(meter.f64_gauge(name).with_unit(unit).with_description(help).build())
        }
        MetricKind::Histogram => {
            AnyInstrument::Histogram(meter.f64_histogram(name).with_unit(unit).with_description(help).build())
        }
    }
}

/// Applies the cardinality limit, and the buckets of OpenTelemetry's conventions to their histograms.
fn view(instrument: &Instrument, limit: usize) -> Option<Stream> {
    let stream = Stream::builder().with_cardinality_limit(limit);
    let stream = match (instrument.kind(), bounds(instrument.name())) {
        (InstrumentKind::Histogram, Some(bounds)) => {
            stream.with_aggregation(Aggregation::ExplicitBucketHistogram {
                boundaries: bounds.to_vec(),
                record_min_max: true,
            })
        }
        _ => stream,
    };
    stream.build().ok()
}

/// Hashes a label set. The order of the labels does not matter.
fn series_hash(hasher: &RandomState, attributes: &Attributes) -> u64 {
    attributes
        .iter()
        .fold(0, |sum: u64, (name, value)| sum.wrapping_add(hasher.hash_one((name, value.to_string()))))
}

/// Checks a metric's name. The SDK would silently ignore an instrument with an invalid one.
fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if begins && name.len() <= MAX_NAME && name.chars().all(allowed) {
        Ok(())
    } else {
        Err("invalid name for OpenTelemetry: expected a letter, then letters, digits, `_`, `.`, `-` and `/`, \
             at most 255 characters"
            .to_owned())
    }
}

fn check_unit(unit: &str) -> Result<(), String> {
    if unit.len() <= MAX_UNIT && unit.is_ascii() {
        Ok(())
    } else {
        Err("invalid unit for OpenTelemetry: expected at most 63 ASCII characters".to_owned())
    }
}

/// A manual reader that the SDK's provider and the recorder share.
#[derive(Clone, Debug)]
struct SharedReader(Arc<ManualReader>);

impl MetricReader for SharedReader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}
