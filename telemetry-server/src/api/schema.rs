//! The bodies of the API as its OpenAPI document describes them. Reading and writing them is the work of
//! `telemetry_core::wire`, which finds all problems of a body at once and is lenient where the reference is.
#![expect(dead_code, reason = "the types are described, not built")]
#![expect(clippy::struct_field_names, reason = "the names are the API's")]

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

/// `null`.
#[derive(Serialize)]
pub(super) struct Null;

impl PartialSchema for Null {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Null).build().into()
    }
}

impl ToSchema for Null {}

/// Text, a number, a boolean or null.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Text(String),
    Number(f64),
    Flag(bool),
    Null(Null),
}

type Attributes = BTreeMap<String, Scalar>;

/// RFC 3339, or seconds or milliseconds since 1970.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(super) enum Time {
    Text(String),
    Number(f64),
}

/// One event, or a batch of them.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(super) enum Logged {
    One(LoggedEvent),
    Batch { events: Vec<LoggedEvent> },
}

#[derive(ToSchema, Serialize)]
pub(super) struct LoggedEvent {
    event: Event,
    /// How long the event is kept, from its arrival; 7 days by default.
    #[schema(minimum = 1)]
    ttl_seconds: Option<i64>,
}

#[derive(ToSchema, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Event {
    /// A log line.
    UnstructuredLog {
        #[schema(pattern = "^[0-9a-fA-F]{1,31}1$")]
        trace_id: Option<String>,
        #[schema(pattern = "^[0-9a-fA-F]{1,15}1$")]
        span_id: Option<String>,
        timestamp: Time,
        attributes: Option<Attributes>,
        message: String,
        severity: Severity,
    },
    /// A measurement.
    Metric {
        #[schema(pattern = "^[0-9a-fA-F]{1,31}1$")]
        trace_id: Option<String>,
        #[schema(pattern = "^[0-9a-fA-F]{1,15}1$")]
        span_id: Option<String>,
        timestamp: Time,
        attributes: Option<Attributes>,
        #[schema(min_length = 1)]
        metric: String,
        value: f64,
        unit: String,
        kind: Option<MetricKind>,
    },
    /// The start or the end of a span.
    StructuredLog {
        #[schema(pattern = "^[0-9a-fA-F]{1,31}1$")]
        trace_id: String,
        #[schema(pattern = "^[0-9a-fA-F]{1,15}1$")]
        span_id: String,
        timestamp: Time,
        attributes: Option<Attributes>,
        payload: Payload,
    },
}

#[derive(ToSchema, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Payload {
    SpanStart {
        name: String,
        #[schema(pattern = "^[0-9a-fA-F]{1,15}1$")]
        parent_span_id: Option<String>,
    },
    SpanEnd {
        status: SpanStatus,
    },
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    Verbose,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MetricKind {
    Counter,
    UpDownCounter,
    Gauge,
    Histogram,
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SpanStatus {
    Ok,
    Error,
}

/// What became of what was logged.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(super) enum LoggedAnswer {
    /// One event was stored.
    One(Null),
    /// Of a batch, these were not.
    Batch { accepted: u64, rejected: Vec<Rejected> },
}

#[derive(ToSchema, Serialize)]
pub(super) struct Rejected {
    index: u64,
    errors: Vec<Problem>,
}

/// A condition on one span.
#[derive(ToSchema, Serialize)]
pub(super) struct Filter {
    /// An attribute, else `name`, `status`, `kind`, `service_name`, `duration_ms`, `span_id` or `trace_id`.
    key: String,
    op: FilterOp,
    value: Scalar,
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FilterOp {
    Eq,
    Ne,
    Gt,
    Lt,
}

#[derive(ToSchema, Serialize)]
pub(super) struct TraceQuery {
    attribute_filters: Option<Vec<Filter>>,
    /// 100 by default; -1 is all.
    #[schema(minimum = -1)]
    limit: Option<i64>,
    #[schema(minimum = 0)]
    offset: Option<i64>,
    order_by: Option<Vec<OrderBy>>,
}

#[derive(ToSchema, Serialize)]
pub(super) enum OrderBy {
    #[serde(rename = "start_time")]
    StartTime,
    #[serde(rename = "-start_time")]
    StartTimeDescending,
    #[serde(rename = "end_time")]
    EndTime,
    #[serde(rename = "-end_time")]
    EndTimeDescending,
    #[serde(rename = "trace_id")]
    TraceId,
    #[serde(rename = "-trace_id")]
    TraceIdDescending,
    #[serde(rename = "root_span_id")]
    RootSpanId,
    #[serde(rename = "-root_span_id")]
    RootSpanIdDescending,
    #[serde(rename = "service_name")]
    ServiceName,
    #[serde(rename = "-service_name")]
    ServiceNameDescending,
    #[serde(rename = "duration_ms")]
    DurationMs,
    #[serde(rename = "-duration_ms")]
    DurationMsDescending,
}

#[derive(ToSchema, Serialize)]
pub(super) struct SpanQuery {
    attribute_filters: Vec<Filter>,
    /// A span is answered if it carries all of these.
    attributes_to_return: Vec<String>,
    #[schema(minimum = 0)]
    max_depth: Option<i64>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct Export {
    attribute_filters: Vec<Filter>,
    attributes_to_save: Vec<String>,
    dataset_id: String,
    #[schema(minimum = 0)]
    max_depth: Option<i64>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct TreeQuery {
    attributes_to_return: Option<Vec<String>>,
    #[schema(minimum = 0)]
    max_depth: Option<i64>,
    #[schema(pattern = "^[0-9a-fA-F]{1,31}1$")]
    trace_id: Option<String>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct MetricQuery {
    start_time: Time,
    end_time: Option<Time>,
    /// The length of a step; absent: every point.
    #[schema(pattern = "^[1-9][0-9]{0,2}[smhdw]$")]
    granularity: Option<String>,
    query_type: Option<QueryType>,
    label_matchers: Option<Vec<LabelMatcher>>,
    aggregation: Option<Aggregation>,
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum QueryType {
    Range,
    Instant,
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Aggregation {
    Sum,
    Avg,
    Min,
    Max,
    Last,
    Count,
    P50,
    P90,
    P95,
    P99,
}

#[derive(ToSchema, Serialize)]
pub(super) struct LabelMatcher {
    name: String,
    operator: Option<MatcherOp>,
    value: String,
}

#[derive(ToSchema, Serialize)]
pub(super) enum MatcherOp {
    #[serde(rename = "=")]
    Equal,
    #[serde(rename = "!=")]
    NotEqual,
    #[serde(rename = "=~")]
    Matches,
    #[serde(rename = "!~")]
    MatchesNot,
}

#[derive(ToSchema, Serialize)]
pub(super) struct LogQuery {
    #[schema(pattern = "^[0-9a-fA-F]{1,31}1$")]
    trace_id: Option<String>,
    #[schema(pattern = "^[0-9a-fA-F]{1,15}1$")]
    span_id: Option<String>,
    min_severity: Option<Severity>,
    contains: Option<String>,
    start_time: Option<Time>,
    end_time: Option<Time>,
    #[schema(minimum = -1)]
    limit: Option<i64>,
    #[schema(minimum = 0)]
    offset: Option<i64>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct Trace {
    trace_id: String,
    root_span_id: String,
    start_time: String,
    end_time: Option<String>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct Traces {
    data: Vec<Trace>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct Span {
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
pub(super) struct Spans {
    data: Vec<Span>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct SpanWithStatus {
    #[serde(flatten)]
    span: Span,
    status: Option<SpanStatus>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct SpanWithEvents {
    #[serde(flatten)]
    span: SpanWithStatus,
    events: Vec<StoredEvent>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct SpanTree {
    /// By span id, ordered by depth, then start.
    data: BTreeMap<String, SpanWithStatus>,
}

#[derive(ToSchema, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum StoredEvent {
    UnstructuredLog {
        trace_id: Option<String>,
        span_id: Option<String>,
        timestamp: String,
        attributes: Attributes,
        message: String,
        severity: Severity,
    },
    /// A span event that came by OTLP.
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
pub(super) struct Logs {
    data: Vec<StoredEvent>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct MetricSeries {
    metric: String,
    labels: Vec<Label>,
    values: Vec<MetricPoint>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct Label {
    name: String,
    value: String,
}

#[derive(ToSchema, Serialize)]
pub(super) struct MetricPoint {
    /// Seconds since 1970.
    timestamp: i64,
    value: f64,
    unit: String,
}

#[derive(ToSchema, Serialize)]
pub(super) struct Metrics {
    data: Vec<MetricSeries>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct Health {
    status: String,
}

#[derive(ToSchema, Serialize)]
pub(super) struct Version {
    version: String,
}

/// What became of everything logged so far: at the door, and per sink.
#[derive(ToSchema, Serialize)]
pub(super) struct Ledger {
    door: BTreeMap<String, u64>,
    assembler: BTreeMap<String, u64>,
    sinks: Vec<SinkLedger>,
}

/// `accepted = delivered + failed + dropped + pending`.
#[derive(ToSchema, Serialize)]
pub(super) struct SinkLedger {
    name: String,
    state: String,
    accepted: u64,
    delivered: u64,
    failed: u64,
    dropped: u64,
    pending: u64,
    reasons: BTreeMap<String, u64>,
    retries: u64,
    last_error: Option<String>,
}

/// What was wrong, at every place of the body; or one sentence.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(super) enum Invalid {
    Body { error: InvalidDetail },
    Other(Failure),
}

#[derive(ToSchema, Serialize)]
pub(super) struct InvalidDetail {
    detail: InvalidErrors,
}

#[derive(ToSchema, Serialize)]
pub(super) struct InvalidErrors {
    errors: Vec<Problem>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct Problem {
    loc: Vec<Place>,
    msg: String,
    r#type: String,
}

/// A key, or an index.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(super) enum Place {
    Key(String),
    Index(u64),
}

#[derive(ToSchema, Serialize)]
pub(super) struct Failure {
    detail: String,
}

/// Every way a request can be refused.
#[derive(IntoResponses)]
pub(super) enum Refused {
    /// The request is wrong.
    #[response(status = 400)]
    Invalid(Invalid),
    /// No token, or one that is not known.
    #[response(status = 401)]
    Unauthorized(Failure),
    /// The token lacks the scope.
    #[response(status = 403)]
    Forbidden(Failure),
    /// There is nothing of that id.
    #[response(status = 404)]
    NotFound(Failure),
    /// The body did not come in time.
    #[response(status = 408)]
    RequestTimeout(Failure),
    /// The body is too large.
    #[response(status = 413)]
    PayloadTooLarge(Failure),
    /// The body is of another type.
    #[response(status = 415)]
    UnsupportedMediaType(Failure),
    /// The queue is full; `Retry-After` says when to try again.
    #[response(status = 429)]
    TooManyRequests(Failure),
    /// A datasets' server refused.
    #[response(status = 502)]
    BadGateway(Failure),
    /// The store can't do it now; `Retry-After` says when to try again.
    #[response(status = 503)]
    ServiceUnavailable(Failure),
}

/// `google.rpc.Status`, as OTLP says; or the sentence of a bound that is not OTLP's.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(super) enum OtlpFailure {
    Status { code: i32, message: String },
    Other(Failure),
}

/// Every way an OTLP request can be refused; in protobuf where the request was.
#[derive(IntoResponses)]
pub(super) enum OtlpRefused {
    /// The request is wrong, or nothing of it can be kept.
    #[response(status = 400)]
    Invalid(OtlpFailure),
    /// No token, or one that is not known.
    #[response(status = 401)]
    Unauthorized(OtlpFailure),
    /// The token lacks the scope.
    #[response(status = 403)]
    Forbidden(OtlpFailure),
    /// The body did not come in time.
    #[response(status = 408)]
    RequestTimeout(OtlpFailure),
    /// The body is too large.
    #[response(status = 413)]
    PayloadTooLarge(OtlpFailure),
    /// The body is of another type.
    #[response(status = 415)]
    UnsupportedMediaType(OtlpFailure),
    /// The queue is full; `Retry-After` says when to try again.
    #[response(status = 429)]
    TooManyRequests(OtlpFailure),
    /// The store can't do it now; `Retry-After` says when to try again.
    #[response(status = 503)]
    ServiceUnavailable(OtlpFailure),
}
