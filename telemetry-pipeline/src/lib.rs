//! The machine between the code that logs and the sinks that keep.
//!
//! [`Telemetry`] is the door: a cheap clone that never blocks its caller. Behind it one bounded queue
//! leads to one thread, which runs the [`assembler`] and hands the signals to a worker per sink, each
//! with a thread and a runtime of its own. Nothing runs on the caller's runtime, so any flavour, or
//! none, will do. [`Pipeline`] owns the threads.
//!
//! ```
//! use telemetry_core::{Severity, attrs};
//! use telemetry_pipeline::{Pipeline, PipelineConfig};
//!
//! let pipeline = Pipeline::start(Vec::new(), PipelineConfig::default())?; // sinks come from the provider
//! let telemetry = pipeline.telemetry();
//! {
//!     let span = telemetry.span("chat", attrs! { "model_id" => "llama" });
//!     span.log(Severity::Info, "prompt received");
//! }
//! let report = pipeline.shutdown(std::time::Duration::from_secs(1));
//! assert!(report.abandoned.is_empty());
//! # Ok::<(), telemetry_pipeline::StartError>(())
//! ```

pub mod assembler;
mod clock;
mod config;
mod contained;
mod context;
mod deadline;
mod engine;
mod error;
mod ids;
mod lane;
mod ledger;
mod lost;
mod pipeline;
mod receipt;
mod record;
mod redaction;
mod span_builder;
mod span_context;
mod span_guard;
mod span_handle;
mod spool;
mod telemetry;
mod traceparent;
mod worker;

pub use config::PipelineConfig;
pub use context::{Entered, FutureExt, InSpan, current_span, enter, leave};
pub use error::{StartError, StartFailure, SubmitError};
pub use ids::{random_span_id, random_trace_id};
pub use ledger::{IngestLedger, Ledger, SinkLedger, SinkState};
pub use pipeline::{Pipeline, ShutdownReport, SinkSpec, is_pipeline_thread};
pub use receipt::{NotStored, Receipt};
pub use redaction::{Content, MASK, Redact, Redaction, Verdict};
pub use span_builder::SpanBuilder;
pub use span_context::SpanContext;
pub use span_guard::SpanGuard;
pub use span_handle::SpanHandle;
pub use telemetry::{FlushReport, Telemetry};
pub use traceparent::{TraceParent, TraceParentError};
