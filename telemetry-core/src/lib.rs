//! The vocabulary and the contracts of the telemetry system: what is logged, what sinks receive, and
//! what can be queried.
//!
//! # Concepts
//!
//! LLM servers log [`Event`]s: log lines, metric points, and the starts and ends of spans. The pipeline
//! pairs starts with ends and emits [`Signal`]s, so that all sinks agree on what a span was. Each
//! [`Sink`] receives the signals in [`Batch`]es and delivers them: to the terminal, a file, a database, a
//! collector. A sink that can also answer queries has a [`TraceStore`].
//!
//! ```text
//! Event ─▶ pipeline ─▶ Signal ─▶ Batch ─▶ Sink ─▶ destination
//!                                                     │
//!                               query ─▶ TraceStore ◀─┘
//! ```
//!
//! This crate has the types and traits only. It starts no thread, opens no file and no socket, and depends
//! on neither an async runtime nor a configuration format. `telemetry-pipeline` runs sinks,
//! `telemetry-provider` builds them from a configuration file.
//!
//! # Logging
//!
//! Events are plain values with a time, a context and attributes. The pipeline's `Telemetry` accepts them.
//! Text known at compile time costs no allocation, because [`Text`] is a `Cow<'static, str>`.
//!
//! ```
//! use telemetry_core::{Event, EventContext, Severity, SpanKey, SpanStatus, attrs};
//!
//! let key = SpanKey::new("4bf92f3577b34da6a3ce929d0e0e4736".parse()?, "00f067aa0ba902b7".parse()?);
//! let events = [
//!     Event::span_start(key.trace_id, key.span_id, "chat").with_attributes(attrs! { "model_id" => "llama" }),
//!     Event::log(Severity::Warn, "slow answer").in_context(EventContext::Span(key)),
//!     Event::metric("prompt_tokens", 42, "tokens").with_attributes(attrs! { "model_id" => "llama" }),
//!     Event::span_end(key.trace_id, key.span_id, SpanStatus::Ok),
//! ];
//! assert_eq!(events[0].attributes().get("model_id"), Some(&"llama".into()));
//! assert_eq!(events[1].context().span_id(), Some(key.span_id));
//! # Ok::<(), telemetry_core::IdError>(())
//! ```
//!
//! Metrics need no declaration. [`Instruments`] has the rules that choose an instrument for each name.
//!
//! # Writing a sink
//!
//! A sink implements [`Sink`], whose documentation is the contract. A static [`SinkEntry`] describes it, and
//! [`register_sink!`] makes it available by name in every program that links the crate. Sinks depend on this
//! crate alone; the pipeline's worker owns the sink, so that it needs no locks.
//!
//! ```
//! use async_trait::async_trait;
//! use telemetry_core::{
//!     Batch, BuiltSink, Key, KeyKind, Registry, Signal, SignalSet, Sink, SinkEntry, SinkError, Written,
//! };
//!
//! /// Counts logs.
//! struct Counter {
//!     logs: u64,
//!     most: Option<u64>,
//! }
//!
//! #[async_trait]
//! impl Sink for Counter {
//!     async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
//!         let logs = batch.iter().filter(|signal| matches!(signal, Signal::Log(_))).count();
//!         self.logs += logs as u64;
//!         match self.most {
//!             Some(most) if self.logs > most => Err(SinkError::reject("too many logs").with("most", most)),
//!             _ => Ok(batch.delivered()),
//!         }
//!     }
//!
//!     async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
//!         Ok(())
//!     }
//! }
//!
//! static ENTRY: SinkEntry = SinkEntry {
//!     name: "counter",
//!     summary: "counts logs",
//!     keys: &[Key { name: "most", kind: KeyKind::Integer, flat: None, default: None, help: "rejects further logs" }],
//!     build: |context| {
//!         Box::pin(async {
//!             let most = context.options.integer("most");
//!             let most = most.map_err(|error| SinkError::close("cannot build the counter").source(error))?;
//!             Ok(BuiltSink::new(Counter { logs: 0, most }, SignalSet::LOG))
//!         })
//!     },
//! };
//! telemetry_core::register_sink!(ENTRY);
//!
//! let registry = Registry::linked(&[])?;
//! assert_eq!(registry.get("counter").map(|entry| entry.summary), Some("counts logs"));
//! # Ok::<(), telemetry_core::RegistryError>(())
//! ```
//!
//! An error tells the worker with an [`Action`] whether to retry the batch, to count it as failed, or to
//! close the sink. `telemetry-testkit` tests a sink against the whole contract.
//!
//! # Querying
//!
//! [`TraceStore`] returns traces, spans, logs and metrics. The module [`query`] has the queries and the
//! functions that define what they mean, so that all stores return the same answers. The module [`wire`]
//! reads queries from JSON and writes answers.
//!
//! ```
//! use telemetry_core::query::{Filter, FilterOp, TraceQuery, matches_all};
//! use telemetry_core::{Span, SpanKey, Timestamp, attrs};
//!
//! let llama_traces = TraceQuery {
//!     filters: vec![Filter { key: "model_id".into(), op: FilterOp::Eq, value: "llama".into() }],
//!     ..TraceQuery::default()
//! };
//! let key = SpanKey::new("1".parse()?, "2".parse()?);
//! let span = Span { attributes: attrs! { "model_id" => "llama" }, ..Span::open(key, "chat", Timestamp::now()) };
//! assert!(matches_all(&llama_traces.filters, &span, "my-service"));
//! # Ok::<(), telemetry_core::IdError>(())
//! ```

mod attributes;
mod batch;
mod event;
mod ids;
mod instruments;
mod log;
mod metric;
mod named_enum;
mod options;
pub mod query;
mod registry;
mod retained_bytes;
mod signal;
mod sink;
mod span;
mod store;
mod time;
mod value;
pub mod wire;

pub use attributes::{Attribute, Attributes};
pub use batch::{Batch, BatchId, Chunk, RunId, Written};
pub use event::{Event, Metric, Payload, StructuredLog, Submission, UnstructuredLog};
pub use ids::{EventContext, IdError, SpanId, SpanKey, TraceId};
pub use instruments::{
    Instrument, InstrumentError, Instruments, KNOWN_METRICS, KnownMetric, canonical_name, known_metric,
};
pub use log::{LogBody, LogRecord, Severity};
pub use metric::{MetricKind, MetricPoint, MetricValue, StreamMark};
pub use named_enum::UnknownName;
pub use options::{Entry, Key, KeyKind, Location, OptionError, OptionValue, Options};
pub use registry::{
    BoxFuture, BuildFn, BuiltSink, Recovered, Registered, Registry, RegistryError, SinkContext, SinkEntry,
    SinkOptions, SpoolOptions,
};
pub use retained_bytes::{RetainedBytes, RetainedCount};
pub use signal::{Origin, Signal, SignalSet, WaitingEnd};
pub use sink::{Action, Sink, SinkError};
pub use span::{Span, SpanEvent, SpanKind, SpanState, SpanStatus, Trace};
pub use store::{Pages, QueryError, TraceStore};
pub use time::{Timestamp, TimestampError, Ttl};
pub use value::Value;

/// Text that needs no allocation if it is known at compile time.
pub type Text = std::borrow::Cow<'static, str>;

/// Used by the crate's macros; not for direct use.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
}
