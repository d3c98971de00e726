//! Histograms of OpenTelemetry's GenAI conventions.

use std::time::Duration;

use telemetry_core::{Attributes, Event, MetricKind, Text, Value};

/// A version of the GenAI conventions, which are still in development: names differ between versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GenAiConventions {
    /// Version 1.36: the provider's attribute is `gen_ai.system`.
    V1_36,
    /// Version 1.37 and later: the provider's attribute is `gen_ai.provider.name`.
    V1_37,
}

impl GenAiConventions {
    const fn provider_key(self) -> &'static str {
        match self {
            Self::V1_36 => "gen_ai.system",
            Self::V1_37 => "gen_ai.provider.name",
        }
    }
}

/// The input of the histograms.
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

/// Returns the metric points of one call.
pub(crate) fn histogram_points(timing: &Timing<'_>, version: GenAiConventions) -> Vec<Event> {
    let common = [
        ("gen_ai.operation.name", timing.operation),
        (version.provider_key(), timing.provider_id),
        ("gen_ai.request.model", timing.model_id),
    ];
    let error = timing.error.map(|error| ("error.type", error));
    let labels: Attributes = common
        .into_iter()
        .chain(error)
        .map(|(key, value)| (Text::Borrowed(key), Value::String(value.clone())))
        .collect();
    let point = |name: &'static str, seconds: f64| {
        Event::metric(name, seconds, "s").with_kind(MetricKind::Histogram).with_attributes(labels.clone())
    };
    let mut events = vec![point("gen_ai.server.request.duration", timing.duration.as_secs_f64())];
    let Some(first) = timing.time_to_first_token else { return events };
    events.push(point("gen_ai.server.time_to_first_token", first.as_secs_f64()));
    // The first token has its own histogram. This one is about the tokens after it.
    let later = timing.completion_tokens.and_then(|tokens| u32::try_from(tokens.checked_sub(1)?).ok());
    if let Some(later) = later.filter(|later| *later > 0) {
        let each = timing.duration.saturating_sub(first) / later;
        events.push(point("gen_ai.server.time_per_output_token", each.as_secs_f64()));
    }
    events
}
