//! Traces, metrics and logs to an OpenTelemetry collector, by OTLP over HTTP with protobuf.
//!
//! Three sinks, one per signal, so that each is chosen, configured and counted by itself:
//!
//! | Sink | Takes | Sends to |
//! |---|---|---|
//! | `otel_trace` ([`TRACE`]) | finished spans | `/v1/traces` |
//! | `otel_metric` ([`METRIC`]) | metrics | `/v1/metrics` |
//! | `otel_log` ([`LOG`]) | logs | `/v1/logs` |
//!
//! ```
//! use telemetry_core::Registry;
//!
//! let registry = Registry::linked(&[&sink_otel::TRACE, &sink_otel::METRIC, &sink_otel::LOG])?;
//! assert!(registry.get("otel_trace").is_some());
//! # Ok::<(), telemetry_core::RegistryError>(())
//! ```
//!
//! # Configuration
//!
//! The endpoint is a base URL, `http://localhost:4318` by default. Every option may be given in the
//! configuration; else OpenTelemetry's own variable counts, that of the signal
//! (`OTEL_EXPORTER_OTLP_TRACES_…`) before the one for all (`OTEL_EXPORTER_OTLP_…`): `ENDPOINT`,
//! `HEADERS`, `TIMEOUT`, `COMPRESSION`, `CERTIFICATE`, `CLIENT_CERTIFICATE`, `CLIENT_KEY`, and
//! `PROTOCOL`, which must be `http/protobuf`. Further `OTEL_RESOURCE_ATTRIBUTES`,
//! `OTEL_METRIC_EXPORT_INTERVAL` and `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`. A value
//! that can't be used is an error at start; it is never silently replaced.
//!
//! # What arrives
//!
//! **Spans** arrive as they were logged: ids, parents, times to the nanosecond, kind, status,
//! attributes with their types, dropped counts. Logs inside a span are events named
//! `unstructured_log`, with `message` and `severity` beside the attributes; metrics are events named
//! `metric.<name>`, with `value` and `unit`; span events that came by OTLP keep their names. A span
//! of which one half is missing is sent up to the last time known, with the attribute
//! `telemetry.unfinished`; if the missing half still comes, it is sent again, whole. Spans of another
//! service go under that service's name. `otel.scope.name`, `otel.scope.version` and, on an error,
//! `otel.status_description` go where OTLP has a field for them.
//!
//! **Metrics** are aggregated by the OpenTelemetry SDK and exported every 60 seconds, at a flush and
//! at shutdown, under their exported names. The instrument is the one that
//! [`telemetry_core::Instruments`] decides on; numbers are doubles. Aggregates bear the SDK's
//! times, not those of the events. A measurement counts as delivered once it is in the aggregate; an
//! export that fails is made up for by the next one; if the last one fails, at shutdown, what it
//! would have carried is counted as failed after all. Measurements that an instrument can't express
//! are refused and counted, as are, in the batch that follows, the data points a collector refused.
//!
//! **Logs** arrive with their severity (`verbose` is TRACE, `critical` is FATAL), ids, times and
//! attributes. Span events that came by OTLP are not sent as logs.
//!
//! OTLP has no time before 1970, which arrives as 1970, and the SDK's values have no null, which
//! arrives as the empty text.
//!
//! # Failures
//!
//! The exporters' own retry is off; the worker's is the only one. No answer, a time-out, 429, 502, 503
//! and 504 are worth a retry, after `Retry-After` if the collector names it (30 seconds at most). A
//! request that is too large (413) is sent in halves. Everything else is final: counted, with the
//! collector's own words. So is what a collector reports as partial success. Headers are secret: they
//! appear in no message, not even if the collector repeats them.

mod client;
mod config;
mod convert;
mod error;
mod exporter;
mod log;
mod metric;
mod requests;
mod resource;
mod trace;

pub use self::log::LOG;
pub use self::metric::METRIC;
pub use self::trace::TRACE;

use telemetry_core::{OptionError, SinkError};

fn process_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn unusable_options(error: OptionError) -> SinkError {
    SinkError::close("an option can't be used").source(error)
}

fn no_exporter(error: opentelemetry_otlp::ExporterBuildError) -> SinkError {
    SinkError::close("can't set up the exporter").source(error)
}
