//! A series: what the points of one metric share, and helpers to make points from them.

use std::sync::Arc;

use telemetry_core::{
    Attributes, EventContext, MetricKind, MetricPoint, MetricValue, Text, Timestamp, Ttl, Value,
};
use xxhash_rust::xxh3::xxh3_128;

/// What the points of a stream share.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) kind: MetricKind,
    pub(super) attributes: Attributes,
    pub(super) service_name: Arc<str>,
    pub(super) arrived: Timestamp,
}

impl Series {
    /// Returns a metric point named `name` + `suffix`, with more labels.
    pub(super) fn point(
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
        // A count counts observations, whatever their unit.
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

    /// Returns the id of a stream that starts at `start`. It is the same after a restart of the sender or of
    /// this program.
    pub(super) fn stream_id(&self, start: u64, shape: &str) -> u128 {
        let pair = |attribute| serde_json::to_string(attribute).unwrap_or_default();
        let mut parts: Vec<String> = self.attributes.iter().map(pair).collect();
        parts.sort_unstable();
        let of_metric = (&self.name, &self.unit, self.kind, start, shape, self.service_name.as_ref());
        parts.push(serde_json::to_string(&of_metric).unwrap_or_default());
        xxh3_128(parts.join("\n").as_bytes())
    }
}

/// Checks that a sum is finite.
pub(super) fn finite(sum: Option<f64>) -> Result<Option<f64>, String> {
    match sum {
        Some(sum) if !sum.is_finite() => Err(format!("the sum {sum} is not finite")),
        sum => Ok(sum),
    }
}

/// Converts a count to a value.
pub(super) fn count_value(count: u64) -> MetricValue {
    #[expect(clippy::cast_precision_loss, reason = "a count beyond 2^63 is rounded")]
    i64::try_from(count).map_or(MetricValue::Float(count as f64), MetricValue::Int)
}

/// Formats the bound of a bucket as a label, in the way of Prometheus.
pub(super) fn bound(bound: f64) -> String {
    match bound {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        // Without the sign of a negative zero.
        bound => (bound + 0.0).to_string(),
    }
}
