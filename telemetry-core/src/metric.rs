//! Metric points, as sinks receive them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::named_enum::named_enum;
use crate::{Attributes, EventContext, Text, Timestamp, Ttl};

named_enum! {
    /// The instrument of a metric: how its points combine.
    MetricKind {
        /// Points are increments and never negative.
        Counter = "counter",
        /// Points are increments of either sign.
        UpDownCounter = "up_down_counter",
        /// The latest point counts.
        Gauge = "gauge",
        /// The distribution of the points counts.
        Histogram = "histogram",
    }
}

/// The value of a metric point. Integers and floats stay apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetricValue {
    /// An integer.
    Int(i64),
    /// A finite float.
    Float(f64),
}

impl MetricValue {
    /// Returns the value as a double; integers beyond 2^53 are rounded.
    #[expect(clippy::cast_precision_loss, reason = "metric queries answer in doubles, as the reference does")]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Int(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

impl From<i64> for MetricValue {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<i32> for MetricValue {
    fn from(number: i32) -> Self {
        Self::Int(number.into())
    }
}

impl From<u32> for MetricValue {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<f64> for MetricValue {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

/// One measurement of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricPoint {
    /// The trace and span it belongs to, if any.
    pub context: EventContext,
    /// When it was measured.
    pub timestamp: Timestamp,
    /// The metric's name as logged.
    pub name: Text,
    /// The value.
    pub value: MetricValue,
    /// The unit.
    pub unit: Text,
    /// The instrument, if the caller named one.
    pub kind: Option<MetricKind>,
    /// The labels.
    pub attributes: Attributes,
    /// The service that measured it; `None` is the service of this process.
    pub service_name: Option<Arc<str>>,
    /// When it reached this program.
    pub arrived: Timestamp,
    /// How long stores keep it, counted from `arrived`.
    pub ttl: Ttl,
    /// The latest reading of the cumulative stream that this point comes from. Stores commit it with the point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Arc<StreamMark>>,
}

impl MetricPoint {
    /// Returns the time at which stores forget the point.
    pub fn expires(&self) -> Timestamp {
        self.arrived.saturating_add(self.ttl.as_duration())
    }
}

/// The latest reading of a cumulative stream received by OTLP.
///
/// The next point of the stream is its difference to this reading, also after a restart. Stores keep
/// the latest mark of each stream as long as its point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamMark {
    /// A hash of everything that identifies the stream.
    pub stream: u128,
    /// The reading, in a format that only the OTLP receiver reads.
    pub state: Text,
}
