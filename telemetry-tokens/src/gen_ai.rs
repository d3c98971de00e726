//! The histograms of OpenTelemetry's GenAI conventions that only the router can measure.

use std::time::Duration;

use telemetry_core::{Attributes, Event, MetricKind, Text, Value};

/// A version of the GenAI conventions. They are still in development upstream, so their names are
/// one table, by version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GenAiConventions {
    /// 1.36: the provider is `gen_ai.system`.
    V1_36,
    /// 1.37 and later: the provider is `gen_ai.provider.name`.
    V1_37,
}

impl GenAiConventions {
    const fn provider(self) -> &'static str {
        match self {
            Self::V1_36 => "gen_ai.system",
            Self::V1_37 => "gen_ai.provider.name",
        }
    }
}

/// What the histograms are made of.
#[derive(Debug)]
pub(crate) struct Timing<'a> {
    pub(crate) operation: &'a Text,
    pub(crate) model_id: &'a Text,
    pub(crate) provider_id: &'a Text,
    pub(crate) error: Option<&'a Text>,
    pub(crate) duration: Duration,
    pub(crate) time_to_first_token: Option<Duration>,
    pub(crate) completion_tokens: Option<u64>,
}

/// The measurements of one call.
pub(crate) fn measurements(timing: &Timing<'_>, version: GenAiConventions) -> Vec<Event> {
    let common = [
        ("gen_ai.operation.name", timing.operation),
        (version.provider(), timing.provider_id),
        ("gen_ai.request.model", timing.model_id),
    ];
    let error = timing.error.map(|error| ("error.type", error));
    let labels: Attributes = common
        .into_iter()
        .chain(error)
        .map(|(key, value)| (Text::Borrowed(key), Value::String(value.clone())))
        .collect();
    let measurement = |name: &'static str, seconds: f64| {
        Event::metric(name, seconds, "s").with_kind(MetricKind::Histogram).with_attributes(labels.clone())
    };
    let mut events = vec![measurement("gen_ai.server.request.duration", timing.duration.as_secs_f64())];
    let Some(first) = timing.time_to_first_token else { return events };
    events.push(measurement("gen_ai.server.time_to_first_token", first.as_secs_f64()));
    // The first token has a histogram of its own; this one is about those after it.
    let later = timing.completion_tokens.and_then(|tokens| u32::try_from(tokens.checked_sub(1)?).ok());
    if let Some(later) = later.filter(|later| *later > 0) {
        let each = timing.duration.saturating_sub(first) / later;
        events.push(measurement("gen_ai.server.time_per_output_token", each.as_secs_f64()));
    }
    events
}
