//! What the assembler counts.

use serde::Serialize;

/// Counters of the assembler. Every submission is exactly one of `signalled`, `held` and `refused`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AssemblerCounts {
    /// Events, spans, logs and metrics that came in.
    pub submissions: u64,
    /// Submissions that became a signal at once.
    pub signalled: u64,
    /// Submissions that had to wait when they came: ends for their start; of a trace that is not sampled,
    /// starts and logs for the end.
    pub held: u64,
    /// Submissions that became nothing: the sum of the five below.
    pub refused: u64,
    /// Second ends, refused.
    pub duplicate_end: u64,
    /// Starts for a finished span, refused.
    pub start_after_end: u64,
    /// Finished spans (by OTLP) that had come before, refused.
    pub duplicate_span: u64,
    /// What completed a span that sampling left out, and logs that such a span could not hold, refused.
    pub sampled_out: u64,
    /// Attributes set, by a handle, on a span that was unknown or had ended, refused.
    pub late_update: u64,
    /// Spans left out by sampling.
    pub sampled_out_spans: u64,
    /// Logs left out with them.
    pub sampled_out_logs: u64,
    /// Attributes and messages dropped or masked because they hold content, or by the redaction hook.
    pub redacted: u64,
    /// Second starts of an open span, merged into the first.
    pub duplicate_start: u64,
    /// Logs whose span was unknown or had ended; delivered all the same.
    pub late: u64,
    /// `traceparent` attributes that were not W3C's form and stayed ordinary attributes.
    pub invalid_traceparent: u64,
    /// Open spans delivered unfinished because a limit was reached.
    pub evicted: u64,
    /// Ends that came for such a span.
    pub ended_after_eviction: u64,
    /// Ends whose start never came, delivered as spans with unknown start.
    pub unknown_start: u64,
    /// Attributes cut by a limit.
    pub dropped_attributes: u64,
    /// Events not listed on their span because of a limit; delivered by themselves all the same.
    pub dropped_events: u64,
    /// Text values cut at the limit.
    pub truncated_values: u64,
}
