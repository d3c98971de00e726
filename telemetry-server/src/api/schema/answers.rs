//! The bodies of answers.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::schema::errors::Problem;
use crate::api::schema::requests::{Attributes, Null, Severity, SpanStatus};

/// The answer to logged events.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(in crate::api) enum LoggedAnswer {
    /// One event was stored.
    One(Null),
    /// How many events of a batch were stored, and which were rejected.
    Batch { accepted: u64, rejected: Vec<Rejected> },
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct Rejected {
    index: u64,
    errors: Vec<Problem>,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct Trace {
    trace_id: String,
    root_span_id: String,
    start_time: String,
    end_time: Option<String>,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct Traces {
    data: Vec<Trace>,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct Span {
    span_id: String,
    trace_id: String,
    parent_span_id: Option<String>,
    name: String,
    start_time: String,
    end_time: Option<String>,
    attributes: Attributes,
    /// Absent for an internal span.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unfinished: Option<bool>,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct Spans {
    data: Vec<Span>,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct SpanWithStatus {
    #[serde(flatten)]
    span: Span,
    status: Option<SpanStatus>,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct SpanWithEvents {
    #[serde(flatten)]
    span: SpanWithStatus,
    events: Vec<StoredEvent>,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct SpanTree {
    /// By span id, ordered by depth, then start.
    data: BTreeMap<String, SpanWithStatus>,
}

#[derive(ToSchema, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::api) enum StoredEvent {
    UnstructuredLog {
        trace_id: Option<String>,
        span_id: Option<String>,
        timestamp: String,
        attributes: Attributes,
        message: String,
        severity: Severity,
    },
    /// A span event received by OTLP.
    SpanEvent {
        trace_id: Option<String>,
        span_id: Option<String>,
        timestamp: String,
        attributes: Attributes,
        name: String,
    },
    Metric {
        trace_id: Option<String>,
        span_id: Option<String>,
        timestamp: String,
        attributes: Attributes,
        metric: String,
        value: f64,
        unit: String,
    },
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct Logs {
    data: Vec<StoredEvent>,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct MetricSeries {
    metric: String,
    labels: Vec<Label>,
    values: Vec<MetricPoint>,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct Label {
    name: String,
    value: String,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct MetricPoint {
    /// Seconds since 1970.
    timestamp: i64,
    value: f64,
    unit: String,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct Metrics {
    data: Vec<MetricSeries>,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct Health {
    status: String,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct Version {
    version: String,
}

/// Counts of everything logged so far: submitted events, the assembler, and each sink.
#[derive(ToSchema, Serialize)]
pub(in crate::api) struct Ledger {
    ingest: BTreeMap<String, u64>,
    assembler: BTreeMap<String, u64>,
    sinks: Vec<SinkLedger>,
}

/// `accepted = delivered + failed + dropped + pending`.
#[derive(ToSchema, Serialize)]
pub(in crate::api) struct SinkLedger {
    name: String,
    state: String,
    /// True if it answers queries. An acknowledgement waits for it.
    is_store: bool,
    accepted: u64,
    delivered: u64,
    failed: u64,
    dropped: u64,
    pending: u64,
    /// The pending signals that are on disk.
    spooled: u64,
    reasons: BTreeMap<String, u64>,
    retries: u64,
    last_error: Option<String>,
}
