//! The vocabulary and the contract of the telemetry system.
//!
//! Code that logs makes [`Event`]s. The pipeline turns them into [`Signal`]s, so that every sink
//! agrees on what a span was, and hands them to each [`Sink`] in [`Batch`]es. A sink that can answer
//! questions afterwards also gives a [`TraceStore`].
//!
//! ```
//! use telemetry_core::{Event, Severity, attrs};
//!
//! let event = Event::log(Severity::Info, "model loaded").with_attributes(attrs! {
//!     "model_id" => "llama-3.2-3b",
//!     "layers" => 28,
//! });
//! assert_eq!(event.attributes().get("layers"), Some(&28.into()));
//! ```
//!
//! This crate starts no thread, opens no file and no socket, and knows neither tokio nor YAML.

mod attributes;
mod batch;
mod event;
mod ids;
mod metrics;
mod options;
pub mod query;
mod registry;
mod retained_bytes;
mod signal;
mod sink;
mod span;
mod store;
mod submission;
mod timestamp;
mod value;
pub mod wire;
mod words;

pub use attributes::{Attribute, Attributes};
pub use batch::{Batch, BatchId, Chunk, RunId};
pub use event::{
    Event, EventContext, Metric, MetricKind, MetricValue, Payload, Severity, StructuredLog, Ttl,
    UnstructuredLog,
};
pub use ids::{IdError, SpanId, SpanKey, TraceId};
pub use metrics::{Bound, Instruments, KNOWN_METRICS, KnownMetric, Refusal, canonical_name, known_metric};
pub use options::{Entry, Key, KeyKind, Location, OptionError, OptionValue, Options};
pub use registry::{
    BoxFuture, BuildFn, BuiltSink, Recovered, Registered, Registry, RegistryError, SinkContext, SinkEntry,
    SinkOptions, SpoolOptions,
};
pub use retained_bytes::{RetainedBytes, RetainedCount};
pub use signal::{LogBody, LogRecord, MetricPoint, Origin, Signal, SignalSet, StreamMark, WaitingEnd};
pub use sink::{Action, Sink, SinkError, Written};
pub use span::{Span, SpanEvent, SpanKind, SpanState, SpanStatus, Trace};
pub use store::{Pages, QueryError, TraceStore};
pub use submission::Submission;
pub use timestamp::{Timestamp, TimestampError};
pub use value::Value;
pub use words::UnknownWord;

/// Text that costs nothing when it is known at compile time.
pub type Text = std::borrow::Cow<'static, str>;

/// What the crate's macros expand to; not for direct use.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
}
