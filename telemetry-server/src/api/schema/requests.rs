//! The bodies of requests.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// `null`.
#[derive(Serialize)]
pub(in crate::api) struct Null;

impl PartialSchema for Null {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Null).build().into()
    }
}

impl ToSchema for Null {}

/// Text, a number, a boolean or null.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(in crate::api) enum Scalar {
    Text(String),
    Number(f64),
    Flag(bool),
    Null(Null),
}

pub(super) type Attributes = BTreeMap<String, Scalar>;

/// RFC 3339, or seconds or milliseconds since 1970.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(in crate::api) enum Time {
    Text(String),
    Number(f64),
}

/// One event, or a batch of them.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(in crate::api) enum Logged {
    One(LoggedEvent),
    Batch { events: Vec<LoggedEvent> },
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct LoggedEvent {
    event: Event,
    /// How long the event is kept after its arrival. 7 days by default.
    #[schema(minimum = 1)]
    ttl_seconds: Option<i64>,
}

#[derive(ToSchema, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::api) enum Event {
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
    /// A metric point.
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
pub(in crate::api) enum Payload {
    SpanStart {
        name: String,
        #[schema(pattern = "^[0-9a-fA-F]{1,15}1$")]
        parent_span_id: Option<String>,
        kind: Option<SpanKind>,
    },
    SpanEnd {
        status: SpanStatus,
    },
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum Severity {
    Verbose,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

/// The span's role in a remote call. `internal` by default.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum SpanKind {
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum MetricKind {
    Counter,
    UpDownCounter,
    Gauge,
    Histogram,
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum SpanStatus {
    Ok,
    Error,
}

/// A condition on one span.
#[derive(ToSchema, Serialize)]
pub(in crate::api) struct Filter {
    /// An attribute, or `name`, `status`, `kind`, `service_name`, `duration_ms`, `span_id` or `trace_id`.
    key: String,
    op: FilterOp,
    value: Scalar,
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum FilterOp {
    Eq,
    Ne,
    Gt,
    Lt,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct TraceQuery {
    attribute_filters: Option<Vec<Filter>>,
    /// 100 by default. -1 means all.
    #[schema(minimum = -1)]
    limit: Option<i64>,
    #[schema(minimum = 0)]
    offset: Option<i64>,
    order_by: Option<Vec<OrderBy>>,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) enum OrderBy {
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
pub(in crate::api) struct SpanQuery {
    attribute_filters: Vec<Filter>,
    /// A span matches if it has all of these attributes.
    attributes_to_return: Vec<String>,
    #[schema(minimum = 0)]
    max_depth: Option<i64>,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct Export {
    attribute_filters: Vec<Filter>,
    attributes_to_save: Vec<String>,
    dataset_id: String,
    #[schema(minimum = 0)]
    max_depth: Option<i64>,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct TreeQuery {
    attributes_to_return: Option<Vec<String>>,
    #[schema(minimum = 0)]
    max_depth: Option<i64>,
    #[schema(pattern = "^[0-9a-fA-F]{1,31}1$")]
    trace_id: Option<String>,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct MetricQuery {
    start_time: Time,
    end_time: Option<Time>,
    /// The length of a step. Without it, every point is returned.
    #[schema(pattern = "^[1-9][0-9]{0,2}[smhdw]$")]
    granularity: Option<String>,
    query_type: Option<QueryType>,
    label_matchers: Option<Vec<LabelMatcher>>,
    aggregation: Option<Aggregation>,
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum QueryType {
    Range,
    Instant,
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum Aggregation {
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
pub(in crate::api) struct LabelMatcher {
    name: String,
    operator: Option<MatcherOp>,
    value: String,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) enum MatcherOp {
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
pub(in crate::api) struct LogQuery {
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
