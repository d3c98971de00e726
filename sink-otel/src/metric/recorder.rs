//! Measurements into instruments: one meter per service, one instrument per metric.

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

/// Metrics per service. Names are code, not data: more of them is a mistake.
const MAX_METRICS: usize = 2_000;
/// OpenTelemetry's limits for the name and the unit of an instrument.
const MAX_NAME: usize = 255;
const MAX_UNIT: usize = 63;
/// Counts what the cardinality limit took together, where the user looks for it.
const OVERFLOW: &str = "telemetry_metric_overflow_total";

/// The instruments of one service.
#[derive(Debug)]
pub(super) struct Recorder {
    meter: Meter,
    /// Keeps the instruments alive.
    _provider: SdkMeterProvider,
    pub(super) reader: SharedReader,
    rules: Instruments,
    instruments: HashMap<String, Bound>,
    config: MetricConfig,
    hasher: RandomState,
    overflow: Counter<f64>,
    /// Measurements since the last successful export.
    pub(super) unsent: u64,
    /// Measurements that the cardinality limit took together, ever.
    pub(super) overflowed: u64,
}

/// An instrument, and the label sets it has seen, as hashes: at most as many as the limit.
#[derive(Debug)]
struct Bound {
    instrument: Kind,
    series: HashSet<u64>,
}

/// All numbers are doubles: OTLP wants one type per metric, and both integers and fractions come.
#[derive(Debug)]
enum Kind {
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
            .with_description("Measurements that went to the overflow series of their metric.")
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

    /// Records a measurement.
    ///
    /// # Errors
    ///
    /// Why no instrument can take it.
    pub(super) fn record(&mut self, point: &MetricPoint) -> Result<(), String> {
        let name = canonical_name(&point.name);
        check_name(name)?;
        check_unit(&point.unit)?;
        if !self.instruments.contains_key(name) && self.instruments.len() >= MAX_METRICS {
            return Err(format!("there are {MAX_METRICS} metrics already"));
        }
        let bound = self
            .rules
            .bind(&point.name, point.kind, point.value, &point.unit)
            .map_err(|refusal| refusal.to_string())?;
        let (kind, unit) = (bound.kind, bound.unit.clone());
        let attributes: Vec<_> = point.attributes.iter().map(key_value).collect();
        let series = series_hash(&self.hasher, &point.attributes);
        self.measure(name, kind, &unit, series, point.value.as_f64(), &attributes);
        if let Some(version) = self.config.histograms {
            for Derived { name, unit, attributes } in derived(point, version) {
                // Somebody may log the name as something else.
                let bound = self.rules.bind(name, Some(MetricKind::Histogram), point.value, unit);
                if bound.is_ok() {
                    self.measure(
                        name,
                        MetricKind::Histogram,
                        unit,
                        series,
                        point.value.as_f64(),
                        &attributes,
                    );
                }
            }
        }
        self.unsent += 1;
        Ok(())
    }

    fn measure(
        &mut self,
        name: &str,
        kind: MetricKind,
        unit: &str,
        series: u64,
        value: f64,
        attributes: &[KeyValue],
    ) {
        if !self.instruments.contains_key(name) {
            let bound =
                Bound { instrument: instrument(&self.meter, name, kind, unit), series: HashSet::new() };
            self.instruments.insert(name.to_owned(), bound);
        }
        let bound = self.instruments.get_mut(name).expect("inserted if it was missing");
        if !bound.series.contains(&series) {
            if bound.series.len() < self.config.cardinality_limit {
                bound.series.insert(series);
            } else {
                self.overflowed += 1;
                self.overflow.add(1.0, &[KeyValue::new("metric", name.to_owned())]);
            }
        }
        match &bound.instrument {
            Kind::Counter(counter) => counter.add(value, attributes),
            Kind::UpDownCounter(counter) => counter.add(value, attributes),
            Kind::Gauge(gauge) => gauge.record(value, attributes),
            Kind::Histogram(histogram) => histogram.record(value, attributes),
        }
    }

    /// Takes what has been measured, for an export.
    pub(super) fn collect(&mut self) -> Result<ResourceMetrics, String> {
        let mut metrics = ResourceMetrics::default();
        self.reader.collect(&mut metrics).map_err(|error| error.to_string())?;
        // With delta temporality the SDK forgets the label sets, and starts to count anew.
        for bound in self.instruments.values_mut() {
            if bound.instrument.forgets(self.config.temporality) {
                bound.series.clear();
            }
        }
        Ok(metrics)
    }
}

impl Kind {
    fn forgets(&self, temporality: Temporality) -> bool {
        match self {
            Self::Counter(_) | Self::Histogram(_) => temporality != Temporality::Cumulative,
            Self::Gauge(_) => temporality == Temporality::Delta,
            Self::UpDownCounter(_) => false,
        }
    }
}

fn instrument(meter: &Meter, name: &str, kind: MetricKind, unit: &str) -> Kind {
    let (name, unit) = (name.to_owned(), unit.to_owned());
    let help = known_metric(&name).map_or("", |known| known.help);
    match kind {
        MetricKind::Counter => {
            Kind::Counter(meter.f64_counter(name).with_unit(unit).with_description(help).build())
        }
        MetricKind::UpDownCounter => Kind::UpDownCounter(
            meter.f64_up_down_counter(name).with_unit(unit).with_description(help).build(),
        ),
        MetricKind::Gauge => {
            Kind::Gauge(meter.f64_gauge(name).with_unit(unit).with_description(help).build())
        }
        MetricKind::Histogram => {
            Kind::Histogram(meter.f64_histogram(name).with_unit(unit).with_description(help).build())
        }
    }
}

/// Every stream has the configured cardinality limit; the histograms of the conventions have their buckets.
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

/// The same for the same labels in any order.
fn series_hash(hasher: &RandomState, attributes: &Attributes) -> u64 {
    attributes
        .iter()
        .fold(0, |sum: u64, (name, value)| sum.wrapping_add(hasher.hash_one((name, value.to_string()))))
}

/// The SDK would silently ignore an instrument with another name.
fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if begins && name.len() <= MAX_NAME && name.chars().all(allowed) {
        Ok(())
    } else {
        Err("OpenTelemetry allows no such name: a letter, then letters, digits, `_`, `.`, `-` and `/`, \
             255 in all"
            .to_owned())
    }
}

fn check_unit(unit: &str) -> Result<(), String> {
    if unit.len() <= MAX_UNIT && unit.is_ascii() {
        Ok(())
    } else {
        Err("OpenTelemetry allows no such unit: at most 63 ASCII characters".to_owned())
    }
}

/// A manual reader that both the provider and the sink hold.
#[derive(Clone, Debug)]
pub(super) struct SharedReader(Arc<ManualReader>);

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
