//! A [`tracing_subscriber::Layer`] that makes telemetry of `tracing`'s spans and events.
//!
//! ```
//! use telemetry_pipeline::{Pipeline, PipelineConfig};
//! use tracing_subscriber::layer::SubscriberExt as _;
//!
//! let pipeline = Pipeline::start(Vec::new(), PipelineConfig::default())?; // sinks come from the provider
//! let subscriber = tracing_subscriber::registry().with(telemetry_tracing::layer(pipeline.telemetry()));
//! // A program says `subscriber.init()` once.
//! tracing::subscriber::with_default(subscriber, || {
//!     let span = tracing::info_span!("chat", model_id = "llama-3.2-3b");
//!     span.in_scope(|| tracing::info!(tokens = 42, "prompt received"));
//! });
//! # Ok::<(), telemetry_pipeline::StartError>(())
//! ```
//!
//! # What becomes what
//!
//! | `tracing` | Telemetry |
//! |---|---|
//! | a span | a span: it starts when it is made and ends when its last handle is dropped |
//! | fields, given at once or by `record` | attributes: integers, floats and booleans keep their type, `%` and `?` are text, an error is its text and those of its sources |
//! | an event | a log in the span it happens in, with the attribute `target`; without a message, the message is its fields |
//! | `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` | severity `verbose`, `debug`, `info`, `warn`, `error` |
//! | an event of level `ERROR`, so also `#[instrument(err)]`; a panic | the span it happens in ends with status `error` |
//! | `follows_from` | the attribute `otel.links`, JSON: `[{"trace_id":"…","span_id":"…"}]` |
//! | records of the `log` crate, by `tracing_log::LogTracer` | logs with their own target |
//! | the field `otel.name` | the span's name |
//! | the field `otel.kind`, given at once | the span's kind: `server`, `client`, `producer`, `consumer`, `internal` |
//! | the field `otel.status_code` | `error` makes the span fail |
//!
//! # Traces from and to other processes
//!
//! A span with the field `traceparent` (and `tracestate`) continues the caller's trace; what the header
//! holds may be anything, and is ignored and counted if it is not W3C's form. [`SpanExt::traceparent`]
//! gives the header for a request to another process:
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
//! let header = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"); // of a request
//! let span = tracing::info_span!("POST /chat", traceparent = header);
//! let onwards = span.traceparent().expect("the layer is installed");
//! assert!(onwards.starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
//! # Ok::<(), telemetry_pipeline::StartError>(())
//! ```
//!
//! # Metrics
//!
//! An event without a message, with the fields `metric` and `value` (a number), is a measurement; `unit`
//! and `kind` (`counter`, `up_down_counter`, `gauge`, `histogram`) may say more, other fields are labels:
//!
//! ```
//! tracing::info!(metric = "prompt_tokens", value = 42, unit = "tokens", model_id = "llama-3.2-3b");
//! ```
//!
//! [`Telemetry::log_event`](telemetry_pipeline::Telemetry::log_event) does the same without `tracing`: the
//! span entered by `tracing` is also [`telemetry_pipeline::current_span`], so events, span guards and
//! `tracing` mix freely.
//!
//! # Content
//!
//! Fields that hold what people and models said, such as `input`, `output` or `gen_ai.input.messages`, are
//! dropped unless the pipeline's `content` says otherwise; see [`telemetry_pipeline::Redaction`].
//!
//! # Cost
//!
//! Short texts that a thread records again and again (a model, a provider) are kept for the life of the
//! process instead of copied for each span: 1,024 of them at most, of 48 bytes at most.
//!
//! # Filters
//!
//! The layer takes filters as every layer does, `layer(telemetry).with_filter(LevelFilter::INFO)`. A span
//! that is filtered out is left out of the tree: its children are its parent's. What a sink's own thread
//! logs (an HTTP client's lines, say) is never taken, so no sink feeds itself.

mod entered;
mod fields;
mod layer;
mod span_ext;
mod texts;

pub use layer::{TelemetryLayer, layer};
pub use span_ext::SpanExt;
