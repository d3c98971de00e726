//! Sends spans, metrics and logs to an OpenTelemetry collector, by OTLP over HTTP with protobuf.
//!
//! There is one sink per signal, so that each can be chosen, configured and counted by itself:
//!
//! | Sink | Takes | Sends to |
//! |---|---|---|
//! | `otel_trace` ([`TRACE`]) | ended spans | `/v1/traces` |
//! | `otel_metric` ([`METRIC`]) | metric points | `/v1/metrics` |
//! | `otel_log` ([`LOG`]) | logs | `/v1/logs` |
//!
//! A program finds them in its registry and builds one with its options:
//!
//! ```
//! use telemetry_core::{OptionValue, Options, Registry, RunId, SignalSet, SinkContext};
//! use telemetry_testkit::block_on;
//!
//! let registry = Registry::linked(&[&sink_otel::TRACE, &sink_otel::METRIC, &sink_otel::LOG])?;
//! let entry = registry.get("otel_trace").expect("the sink is linked");
//!
//! let context = |endpoint: &str| SinkContext {
//!     service_name: "chat".into(),
//!     options: Options::from_pairs([("endpoint", OptionValue::Text(endpoint.to_owned()))]),
//!     run: RunId(1),
//! };
//! let built = block_on((entry.build)(&context("http://localhost:4318")))?;
//! assert_eq!(built.interest, SignalSet::SPAN_ENDED);
//!
//! let error = block_on((entry.build)(&context("localhost"))).err().expect("this is not a URL");
//! assert!(error.full_text().contains("expected a URL like `http://localhost:4318`"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Configuration
//!
//! The endpoint is a base URL, `http://localhost:4318` by default. An option that the configuration
//! leaves out is taken from OpenTelemetry's environment variables. The variable of the signal
//! (`OTEL_EXPORTER_OTLP_TRACES_…`) wins over the variable for all signals (`OTEL_EXPORTER_OTLP_…`).
//! These are supported:
//!
//! - `ENDPOINT`, `HEADERS`, `TIMEOUT`, `COMPRESSION`, `CERTIFICATE`, `CLIENT_CERTIFICATE` and `CLIENT_KEY`
//! - `PROTOCOL`, which must be `http/protobuf`
//! - `OTEL_RESOURCE_ATTRIBUTES`
//! - `OTEL_METRIC_EXPORT_INTERVAL` and `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`
//!
//! An invalid value is an error at start. It is never silently replaced by a default.
//!
//! # Spans
//!
//! Spans arrive as they were logged: ids, parents, times to the nanosecond, kind, status, attributes
//! with their types, and dropped counts.
//!
//! - A log inside a span becomes an event named `unstructured_log`, with `message` and `severity`
//!   beside the log's attributes. A metric point becomes an event named `metric.<name>`, with `value`
//!   and `unit`. A span event that came by OTLP keeps its name.
//! - A span whose start or end is missing is sent up to its last known time, with the attribute
//!   `telemetry.unfinished`. If the missing half arrives later, the whole span is sent again.
//! - A span of another service is sent with that service's name in its resource.
//! - `otel.scope.name`, `otel.scope.version` and, on an error, `otel.status_description` fill the
//!   OTLP fields of that meaning.
//!
//! # Metrics
//!
//! The OpenTelemetry SDK aggregates metric points. Aggregates are exported under their exported names
//! every 60 seconds, at a flush and at shutdown. [`telemetry_core::Instruments`] chooses the instrument.
//! All numbers are doubles, and times are those of the SDK, not of the points.
//!
//! - A metric point counts as delivered once it is in the aggregate. The next export makes up for one
//!   that fails. If the export at shutdown fails, the points that it carried are counted as failed.
//! - Points that an instrument can't express are rejected and counted. Data points that the collector
//!   rejects are counted with the next batch.
//!
//! # Logs
//!
//! Logs arrive with their severity (`verbose` is TRACE, `critical` is FATAL), ids, times and
//! attributes. Span events that came by OTLP are part of their spans and are not sent as logs.
//!
//! # What OTLP can't carry
//!
//! OTLP has no times before 1970, so they arrive as 1970. The SDK's values have no null, which arrives
//! as the empty string.
//!
//! # Failures
//!
//! The exporters' own retry is off: only the worker retries.
//!
//! - No answer, a time-out, and the statuses 429, 502, 503 and 504 are retried, after the collector's
//!   `Retry-After` (30 seconds at most).
//! - A request that is too large (413) is sent again in halves.
//! - Every other error is final. It is counted and reported with the collector's message, as are the
//!   items that a collector rejects in a partial success.
//!
//! Header values are secret. They appear in no message, not even if the collector repeats them.

mod config;
mod convert;
mod http_client;
mod log;
mod metric;
mod request_plan;
mod resource;
mod response;
mod sink;
mod trace;

use telemetry_core::{SinkContext, SinkEntry, SinkError};

use crate::config::{Config, MetricConfig, SignalKind};
use crate::http_client::Client;

/// The sink `otel_trace`.
pub static TRACE: SinkEntry = SinkEntry {
    name: "otel_trace",
    summary: "sends finished spans to an OpenTelemetry collector (OTLP over HTTP)",
    keys: config::KEYS,
    build: |context| Box::pin(async { sink::build::<trace::TraceExporter>(context) }),
};

/// The sink `otel_metric`.
pub static METRIC: SinkEntry = SinkEntry {
    name: "otel_metric",
    summary: "sends metrics to an OpenTelemetry collector (OTLP over HTTP)",
    keys: config::METRIC_KEYS,
    build: |context| Box::pin(async { metric::build(context) }),
};

/// The sink `otel_log`.
pub static LOG: SinkEntry = SinkEntry {
    name: "otel_log",
    summary: "sends logs to an OpenTelemetry collector (OTLP over HTTP)",
    keys: config::KEYS,
    build: |context| Box::pin(async { sink::build::<log::LogExporter>(context) }),
};

/// Checks the options of the sink of this name, as building it does. Sends nothing.
///
/// # Errors
///
/// Returns the [`SinkError`] that building would return for the first invalid option or unreadable certificate.
pub fn check(name: &str, context: &SinkContext) -> Result<(), SinkError> {
    let signal = match name {
        "otel_trace" => SignalKind::Traces,
        "otel_metric" => SignalKind::Metrics,
        _ => SignalKind::Logs,
    };
    let config = Config::from_context(context, signal)?;
    if signal == SignalKind::Metrics {
        MetricConfig::from_context(context)?;
    }
    Client::new(&config).map(drop)
}

telemetry_core::register_sink!(TRACE);
telemetry_core::register_sink!(METRIC);
telemetry_core::register_sink!(LOG);
