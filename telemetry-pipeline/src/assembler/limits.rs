//! The assembler's limits. Everything that a limit cuts is counted.

use std::time::Duration;

use telemetry_core::{Attributes, Text, Value};

use super::sampling::Sampling;

/// Limits of the assembler. The defaults are generous: they bound memory and do not restrict normal use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssemblerConfig {
    /// Spans open at the same time. Beyond it the oldest is delivered unfinished.
    pub max_open_spans: usize,
    /// Bytes of memory for open spans. Beyond it the oldest is delivered unfinished.
    pub max_open_bytes: usize,
    /// How long a span may be open, from the arrival of its start.
    pub max_open_age: Duration,
    /// Ends that may wait for their start. Beyond it the oldest is delivered as a span with unknown start.
    pub max_waiting_ends: usize,
    /// Bytes of memory for ends that wait. Beyond it the oldest is delivered as a span with unknown start.
    pub max_waiting_bytes: usize,
    /// How long an end may wait.
    pub max_waiting_age: Duration,
    /// Attributes per span, and per event.
    pub max_attributes_per_span: usize,
    /// Starts per span. Further ones are refused: each delivers the span again with the attributes of all.
    pub max_starts_per_span: u32,
    /// Events listed per span. Further ones are still delivered as signals of their own.
    pub max_events_per_span: usize,
    /// Bytes per text value.
    pub max_value_bytes: usize,
    /// Finished spans that are remembered, so that a second end is not mistaken for an early one.
    pub remembered_spans: usize,
    /// Which traces are kept.
    pub sampling: Sampling,
}

impl Default for AssemblerConfig {
    fn default() -> Self {
        Self {
            max_open_spans: 100_000,
            max_open_bytes: 64 << 20,
            max_open_age: Duration::from_secs(24 * 3_600),
            max_waiting_ends: 10_000,
            max_waiting_bytes: 32 << 20,
            max_waiting_age: Duration::from_secs(600),
            max_attributes_per_span: 10_000,
            max_starts_per_span: 16,
            max_events_per_span: 10_000,
            max_value_bytes: 8 << 20,
            remembered_spans: 32_768,
            sampling: Sampling::ALL,
        }
    }
}

/// Cuts text to `max` bytes, at the border of a character. Returns 1 if it was cut, 0 otherwise.
pub(crate) fn truncate(text: &mut Text, max: usize) -> u64 {
    if text.len() <= max {
        return 0;
    }
    let end = text.floor_char_boundary(max);
    match text {
        Text::Borrowed(text) => *text = &text[..end],
        Text::Owned(text) => {
            text.truncate(end);
            text.shrink_to_fit();
        }
    }
    1
}

/// Cuts text values to `max` bytes. Returns how many were cut.
pub(crate) fn truncate_values(attributes: &mut Attributes, max: usize) -> u64 {
    let too_long = |value: &Value| value.as_str().is_some_and(|text| text.len() > max);
    if !attributes.iter().any(|(_, value)| too_long(value)) {
        return 0;
    }
    let mut cut = 0;
    let shortened = std::mem::take(attributes).into_iter().map(|(key, mut value)| {
        if let Value::String(text) = &mut value {
            cut += truncate(text, max);
        }
        (key, value)
    });
    *attributes = shortened.collect();
    cut
}
