//! The ledger: a snapshot of all counters.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counts of what happened to everything that was logged.
///
/// At submission: `logged = accepted + refused`.
/// Per sink: `accepted = delivered + failed + dropped + pending`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Before the queue.
    pub ingest: IngestLedger,
    /// In the assembler.
    pub assembler: AssemblerCounts,
    /// Each sink, in the order of the configuration.
    pub sinks: Vec<SinkLedger>,
}

/// Counts of submitted events, before the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IngestLedger {
    /// Events that entered the queue.
    pub accepted: u64,
    /// Events refused because the queue, its byte budget or a store was full.
    pub refused_full: u64,
    /// Events refused because the pipeline was shutting down.
    pub refused_closed: u64,
}

/// Counters of the assembler. Every submission counts as exactly one of `signalled`, `waiting` and `refused`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AssemblerCounts {
    /// Events, spans, logs and metric points received.
    pub submissions: u64,
    /// Submissions that became a signal immediately.
    pub signalled: u64,
    /// Submissions that had to wait when they arrived: ends for their start, updates for the end, and
    /// starts and logs of a trace that is not sampled for the end.
    #[serde(rename = "held")]
    pub waiting: u64,
    /// Submissions that became nothing: the sum of the six counters below.
    pub refused: u64,
    /// Second ends, refused.
    pub duplicate_end: u64,
    /// Starts for a finished span, refused.
    pub start_after_end: u64,
    /// Starts of a span that had started too often, refused.
    pub excess_start: u64,
    /// Finished spans (received by OTLP) that had arrived before, refused.
    pub duplicate_span: u64,
    /// Submissions that completed a span which was sampled out, and logs that such a span had no room for,
    /// refused.
    pub sampled_out: u64,
    /// Attributes that a handle set on a span which was unknown or had ended, refused.
    pub late_update: u64,
    /// Spans that were sampled out.
    pub sampled_out_spans: u64,
    /// Logs that were sampled out with their spans.
    pub sampled_out_logs: u64,
    /// Attributes and messages dropped or masked because they hold content, or by the redaction hook.
    pub redacted: u64,
    /// Second starts of an open span, merged into the first.
    pub duplicate_start: u64,
    /// Logs whose span was unknown or had ended. They are delivered.
    pub late: u64,
    /// `traceparent` attributes that do not follow W3C Trace Context. They stay ordinary attributes.
    pub invalid_traceparent: u64,
    /// Open spans delivered unfinished because a limit was reached.
    pub evicted: u64,
    /// Ends that arrived for an evicted span.
    pub ended_after_eviction: u64,
    /// Ends whose start never arrived, delivered as spans with unknown start.
    pub unknown_start: u64,
    /// Attributes cut by a limit.
    pub dropped_attributes: u64,
    /// Events not listed on their span because of a limit. They are delivered as signals of their own.
    pub dropped_events: u64,
    /// Text values cut at the limit.
    pub truncated_values: u64,
}

/// Counts of the signals for one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinkLedger {
    /// The sink's name.
    pub name: String,
    /// `running`, `closed` (it gave up or was shut down) or `failed` (it panicked, or did not
    /// end in time).
    pub state: SinkState,
    /// True if it answers queries, so that receipts wait for it.
    pub is_store: bool,
    /// Signals for this sink.
    pub accepted: u64,
    /// Signals it delivered.
    pub delivered: u64,
    /// Signals it could not deliver.
    pub failed: u64,
    /// Signals it never received.
    pub dropped: u64,
    /// Signals that wait in memory or on disk.
    pub pending: u64,
    /// Pending signals that are on disk, where the next start finds them.
    pub spooled: u64,
    /// Failed and dropped signals by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Failed tries that were followed by another try.
    pub retries: u64,
    /// The text of the latest error.
    pub last_error: Option<String>,
}

/// The state of a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkState {
    /// It takes signals.
    #[default]
    Running,
    /// It was shut down, or ended with an error.
    Closed,
    /// It panicked, or its thread did not end in time.
    Failed,
}
