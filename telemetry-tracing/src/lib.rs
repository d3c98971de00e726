//! A [`tracing_subscriber::Layer`] that records the spans and events of [`tracing`] as telemetry.
//!
//! # In programs
//!
//! Add [`layer`] to the subscriber. Code that uses `tracing` needs no change:
//!
//! ```
//! use telemetry_pipeline::{Pipeline, PipelineConfig};
//! use tracing_subscriber::layer::SubscriberExt as _;
//! # let (sink, seen) = telemetry_testkit::CaptureSink::new();
//! # let context = telemetry_testkit::ready_made(sink.built());
//! # let sinks = vec![telemetry_pipeline::SinkSpec { entry: &telemetry_testkit::READY_MADE, context }];
//!
//! // `sinks` come from the provider.
//! let pipeline = Pipeline::start(sinks, PipelineConfig::default())?;
//! let subscriber = tracing_subscriber::registry().with(telemetry_tracing::layer(pipeline.telemetry()));
//! // A program calls `subscriber.init()` once instead.
//! tracing::subscriber::with_default(subscriber, || {
//!     let span = tracing::info_span!("chat", model_id = "llama-3.2-3b");
//!     span.in_scope(|| tracing::info!(tokens = 42, "prompt received"));
//! });
//! # pipeline.shutdown(std::time::Duration::from_secs(10));
//!
//! assert_eq!(seen.ended_spans()[0].name, "chat");
//! assert_eq!(seen.messages(), ["prompt received"]);
//! # Ok::<(), telemetry_pipeline::StartError>(())
//! ```
//!
//! The span that `tracing` has entered is also [`telemetry_pipeline::current_span`]. So a program can use `tracing` and
//! [`Telemetry`](telemetry_pipeline::Telemetry) together.
//!
//! # What is recorded
//!
//! | `tracing` | Telemetry |
//! |---|---|
//! | a span | a span. It starts when it is created and ends when it was exited last, or when it closes if it was never entered. A task that was spawned in it and runs on does not prolong it |
//! | fields, given at once or by `record` | attributes. Integers, floats and booleans keep their type, `%` and `?` are text, an error is its text and those of its sources |
//! | an event | a log in its span, with the attribute `target`. Without a message, the message is its fields |
//! | `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` | severity `verbose`, `debug`, `info`, `warn`, `error` |
//! | an event of level `ERROR`, so also `#[instrument(err)]`; a panic | its span ends with status `error` |
//! | `follows_from` | the attribute `otel.links`, JSON: `[{"trace_id":"…","span_id":"…"}]` |
//! | records of the `log` crate, by `tracing_log::LogTracer` | logs with their own target |
//! | the field `otel.name` | the span's name |
//! | the field `otel.kind`, given at once | the span's kind: `server`, `client`, `producer`, `consumer`, `internal` |
//! | the field `otel.status_code` | `error` fails the span |
//!
//! ## Metrics
//!
//! An event without a message is a metric point if it has the fields `metric` (a name) and `value` (a number). The fields
//! `unit` and `kind` (`counter`, `up_down_counter`, `gauge`, `histogram`) are optional. Other fields are labels:
//!
//! ```
//! tracing::info!(metric = "prompt_tokens", value = 42, unit = "tokens", model_id = "llama-3.2-3b");
//! ```
//!
//! ## Traces of other processes
//!
//! A span with the field `traceparent`, and optionally `tracestate`, continues the caller's trace. A value that is not in
//! W3C's form is ignored and counted. [`SpanExt::traceparent`] returns the header for a request to another process:
//!
//! ```
//! use telemetry_tracing::SpanExt as _;
//! # use telemetry_pipeline::{Pipeline, PipelineConfig};
//! # use tracing_subscriber::layer::SubscriberExt as _;
//! # let (sink, _seen) = telemetry_testkit::CaptureSink::new();
//! # let context = telemetry_testkit::ready_made(sink.built());
//! # let sinks = vec![telemetry_pipeline::SinkSpec { entry: &telemetry_testkit::READY_MADE, context }];
//! # let pipeline = Pipeline::start(sinks, PipelineConfig::default())?;
//! # let subscriber = tracing_subscriber::registry().with(telemetry_tracing::layer(pipeline.telemetry()));
//! # let _default = tracing::subscriber::set_default(subscriber);
//!
//! let header = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"); // of the incoming request
//! let span = tracing::info_span!("POST /chat", traceparent = header);
//! let outgoing = span.traceparent().expect("the layer is installed");
//! assert!(outgoing.starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
//! # Ok::<(), telemetry_pipeline::StartError>(())
//! ```
//!
//! # What is not
//!
//! - Spans and events that a filter excludes: `layer(telemetry).with_filter(LevelFilter::INFO)`. The children of an
//!   excluded span become children of its parent.
//! - What the threads of the pipeline log, such as the messages of a sink's HTTP client. Otherwise a sink would receive
//!   what it causes.
//! - Fields with the content of conversations, such as `input`, `output` or `gen_ai.input.messages`, unless the pipeline's
//!   `content` allows it. See [`telemetry_pipeline::Redaction`].
//! - More than 128 links per span. Further ones are counted in `otel.dropped_links_count`.
//!
//! # Cost
//!
//! Short texts that a thread records often, such as a model or a provider, are kept until the process ends, so that they
//! need no copy. There are at most 1,024 of them, of at most 48 bytes each.

mod fields;
mod layer;
mod span_ext;
mod span_stack;
mod text_cache;

pub use layer::{TelemetryLayer, layer};
pub use span_ext::SpanExt;
