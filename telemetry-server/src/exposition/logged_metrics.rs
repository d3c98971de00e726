//! The logged metrics as Prometheus instruments. Their number is limited, and points that no instrument can show
//! are counted.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use telemetry_core::{
    Attributes, Event, InstrumentError, Instruments, KNOWN_METRICS, MetricKind, MetricValue, Submission,
    Timestamp, Value, canonical_name, known_metric,
};

use crate::exposition::names::{label_name, metric_name};

/// Largest number of metric names.
const MAX_METRICS: usize = 1_000;
/// Largest number of series of all metrics together.
const MAX_SERIES: usize = 10_000;
/// Largest size of all labels together, in bytes.
const MAX_LABEL_BYTES: usize = 8 << 20;
/// OpenTelemetry's default buckets.
const BOUNDS: [f64; 15] = [
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1_000.0, 2_500.0, 5_000.0, 7_500.0,
    10_000.0,
];

type Labels = Vec<(String, String)>;

/// A sample of a metric, taken from a submission.
#[derive(Debug)]
pub(crate) struct Sample {
    name: String,
    kind: Option<MetricKind>,
    value: MetricValue,
    unit: String,
    timestamp: Timestamp,
    /// Sorted by name. `None` if two attributes have the same label name.
    labels: Option<Labels>,
}

impl Sample {
    /// Returns the sample of a submission. `None` if that is not a metric point.
    pub(crate) fn of(submission: &Submission) -> Option<Self> {
        match submission {
            Submission::Event { event: Event::Metric(metric), .. } => Some(Self {
                name: metric.metric.to_string(),
                kind: metric.kind,
                value: metric.value,
                unit: metric.unit.to_string(),
                timestamp: metric.timestamp,
                labels: labels(&metric.attributes, None),
            }),
            Submission::Metric(point) => Some(Self {
                name: point.name.to_string(),
                kind: point.kind,
                value: point.value,
                unit: point.unit.to_string(),
                timestamp: point.timestamp,
                labels: labels(&point.attributes, point.service_name.as_deref()),
            }),
            Submission::Event { .. } | Submission::Span(_) | Submission::Log(_) => None,
        }
    }
}

/// Converts attributes to labels. Leaves out nulls and names that begin with `__`, which Prometheus reserves.
fn labels(attributes: &Attributes, service_name: Option<&str>) -> Option<Labels> {
    let mut labels = Labels::new();
    for (name, value) in attributes.iter().filter(|(name, _)| !name.starts_with("__")) {
        let value = match value {
            Value::String(text) => text.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Null => continue,
        };
        labels.push((label_name(name).into_owned(), value));
    }
    // An OTLP resource has it as `service.name`, which is the same label.
    let is_missing = !labels.iter().any(|(name, _)| name == "service_name");
    if let Some(service_name) = service_name.filter(|_| is_missing) {
        labels.push(("service_name".to_owned(), service_name.to_owned()));
    }
    labels.sort_unstable();
    let is_distinct = labels.windows(2).all(|pair| pair[0].0 != pair[1].0);
    is_distinct.then_some(labels)
}

/// Every metric that was logged.
#[derive(Debug, Default)]
pub(super) struct LoggedMetrics {
    instruments: Instruments,
    /// Each family by its name on the page.
    families: BTreeMap<String, Family>,
    /// The name on the page by canonical name.
    names: HashMap<String, String>,
    series: usize,
    label_bytes: usize,
    refused: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Family {
    kind: MetricKind,
    help: String,
    series: HashMap<Labels, State>,
}

#[derive(Clone, Debug)]
enum State {
    /// Integers are summed apart, so that sums beyond 2^53 stay exact.
    Sum {
        int: i64,
        float: f64,
    },
    Last {
        value: MetricValue,
        at: Timestamp,
    },
    Histogram {
        counts: [u64; BOUNDS.len() + 1],
        sum: f64,
    },
}

/// Reasons why a sample is not shown. The store has its point all the same.
const TOO_MANY: &str = "cardinality";
const NAME: &str = "name";
const LABELS: &str = "labels";

impl LoggedMetrics {
    /// Adds a sample, or counts why it can't be shown.
    pub(super) fn record(&mut self, sample: Sample) {
        if let Err(reason) = self.try_record(sample) {
            *self.refused.entry(reason).or_default() += 1;
        }
    }

    /// Returns the number of samples that are not shown, by reason.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.refused.iter().map(|(reason, count)| (*reason, *count))
    }

    fn try_record(&mut self, sample: Sample) -> Result<(), &'static str> {
        let Sample { name, kind, value, unit, timestamp, labels } = sample;
        let labels = labels.ok_or(LABELS)?;
        let canonical = canonical_name(&name);
        if !self.names.contains_key(canonical) && self.names.len() >= MAX_METRICS {
            return Err(TOO_MANY);
        }
        let kind = match self.instruments.bind(&name, kind, value, &unit) {
            Ok(bound) => bound.kind,
            Err(InstrumentError::NegativeIncrement) => return Err("negative_increment"),
            Err(InstrumentError::Kind) => return Err("kind"),
            Err(InstrumentError::Unit) => return Err("unit"),
            Err(InstrumentError::NotFinite) => return Err("not_finite"),
        };
        // The buckets of a histogram that is counted here have this label.
        if kind == MetricKind::Histogram && labels.iter().any(|(name, _)| name == "le") {
            return Err(LABELS);
        }
        if !self.names.contains_key(canonical) {
            let exposed = self.new_name(canonical, kind, &unit)?;
            self.names.insert(canonical.to_owned(), exposed);
        }
        let family =
            self.names.get(canonical).and_then(|exposed| self.families.get_mut(exposed)).ok_or(NAME)?;
        if !family.series.contains_key(&labels) {
            let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
            if self.series >= MAX_SERIES || self.label_bytes + bytes > MAX_LABEL_BYTES {
                return Err(TOO_MANY);
            }
            self.series += 1;
            self.label_bytes += bytes;
        }
        family.series.entry(labels).or_insert_with(|| State::new(kind)).add(value, timestamp);
        Ok(())
    }

    /// Creates the family of a metric that is logged for the first time. Returns its name on the page.
    fn new_name(&mut self, canonical: &str, kind: MetricKind, unit: &str) -> Result<String, &'static str> {
        let exposed = metric_name(canonical, kind == MetricKind::Counter).ok_or(NAME)?;
        // The names of known metrics are reserved, also before they are logged.
        let is_known = |exposed: &str| KNOWN_METRICS.iter().any(|known| known.exported == exposed);
        if is_known(&exposed) && !is_known(canonical) {
            return Err(NAME);
        }
        // A histogram also occupies the names of its parts.
        let parts = |name: &str| ["_bucket", "_count", "_sum"].map(|part| format!("{name}{part}"));
        let is_part = |family: (&String, &Family)| {
            family.1.kind == MetricKind::Histogram && parts(family.0).contains(&exposed)
        };
        let has_part = kind == MetricKind::Histogram
            && parts(&exposed).iter().any(|part| self.families.contains_key(part));
        if self.families.contains_key(&exposed) || has_part || self.families.iter().any(is_part) {
            return Err(NAME);
        }
        let help = match known_metric(canonical) {
            Some(known) => known.help.to_owned(),
            None if unit.is_empty() => "Logged as an event.".to_owned(),
            None => format!("Logged as an event, in {}.", unit.escape_default()),
        };
        self.families.insert(exposed.clone(), Family { kind, help, series: HashMap::new() });
        Ok(exposed)
    }

    /// Writes all metrics. The known ones are described also before they are logged.
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for known in KNOWN_METRICS.iter().filter(|known| !self.families.contains_key(known.exported)) {
            encoder.encode_descriptor(known.exported, known.help, None, metric_type(known.kind))?;
        }
        for (name, family) in &self.families {
            let mut metric = encoder.encode_descriptor(name, &family.help, None, metric_type(family.kind))?;
            for (labels, state) in &family.series {
                let mut metric = metric.encode_family(labels)?;
                match state {
                    State::Sum { int, float: 0.0 } => metric.encode_gauge(int)?,
                    #[expect(clippy::cast_precision_loss, reason = "a sum of floats is one")]
                    State::Sum { int, float } => metric.encode_gauge(&(*int as f64 + float))?,
                    State::Last { value: MetricValue::Int(value), .. } => metric.encode_gauge(value)?,
                    State::Last { value: MetricValue::Float(value), .. } => metric.encode_gauge(value)?,
                    State::Histogram { counts, sum } => {
                        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
                        let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
                        let exemplars = None::<&HashMap<usize, Exemplar<Labels, f64>>>;
                        metric.encode_histogram(*sum, counts.iter().sum(), &buckets, exemplars)?;
                    }
                }
            }
        }
        Ok(())
    }
}

const fn metric_type(kind: MetricKind) -> MetricType {
    match kind {
        MetricKind::Counter => MetricType::Counter,
        MetricKind::UpDownCounter | MetricKind::Gauge => MetricType::Gauge,
        MetricKind::Histogram => MetricType::Histogram,
    }
}

impl State {
    const fn new(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Counter | MetricKind::UpDownCounter => Self::Sum { int: 0, float: 0.0 },
            MetricKind::Gauge => {
                Self::Last { value: MetricValue::Int(0), at: Timestamp::from_nanos(i64::MIN) }
            }
            MetricKind::Histogram => Self::Histogram { counts: [0; BOUNDS.len() + 1], sum: 0.0 },
        }
    }

    fn add(&mut self, value: MetricValue, timestamp: Timestamp) {
        match (self, value) {
            (Self::Sum { int, .. }, MetricValue::Int(more)) => *int = int.saturating_add(more),
            (Self::Sum { float, .. }, MetricValue::Float(more)) => *float += more,
            // The value with the latest time counts, whatever the order of arrival.
            (Self::Last { value: last, at }, value) if timestamp >= *at => {
                (*last, *at) = (value, timestamp);
            }
            (Self::Last { .. }, _) => {}
            (Self::Histogram { counts, sum }, value) => {
                let value = value.as_f64();
                counts[BOUNDS.partition_point(|bound| *bound < value)] += 1;
                *sum += value;
            }
        }
    }
}
