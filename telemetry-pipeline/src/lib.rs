//! The pipeline between code that logs and the sinks that deliver.
//!
//! # Concepts
//!
//! - An **event** is what code logs: the start or end of a span, a log, a metric.
//! - [`Telemetry`] is the **handle** that code logs with. It is a cheap clone and never blocks its caller.
//! - The **queue** takes events to the assembler thread: one ring buffer for each thread that logs.
//! - The [**assembler**](assembler) pairs starts with ends. It turns events into **signals**: `SpanStarted`,
//!   `SpanEnded`, `EndWaiting`, `Log` and `Metric`.
//! - A **worker** is the thread of one sink. It makes batches, calls the sink, retries, and counts.
//! - A **receipt** completes once every store among the sinks has committed a submission.
//! - The **ledger** counts what happened to every event and every signal.
//!
//! # In libraries
//!
//! A library takes a [`Telemetry`] and needs nothing else of this crate. [`Telemetry::span`] returns a
//! [`SpanGuard`] that ends the span when it is dropped. Code that does not own the guard uses
//! [`Telemetry::current`]. In async code, [`FutureExt::in_span`] makes a span the current one of a future.
//! [`Telemetry::disabled`] is a handle without a pipeline, on which every call does nothing.
//!
//! # In programs
//!
//! A program starts a [`Pipeline`] with its sinks and shuts it down at the end. The `telemetry-provider`
//! crate does both from a YAML file.
//!
//! ```
//! use std::time::Duration;
//!
//! use telemetry_core::{Severity, attrs};
//! use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec};
//! use telemetry_testkit::{CaptureSink, READY_MADE, ready_made};
//!
//! let (sink, seen) = CaptureSink::new();
//! let sinks = vec![SinkSpec { entry: &READY_MADE, context: ready_made(sink.built()) }];
//! let pipeline = Pipeline::start(sinks, PipelineConfig::default())?;
//! let telemetry = pipeline.telemetry();
//! {
//!     let span = telemetry.span("chat", attrs! { "model_id" => "llama" });
//!     span.log(Severity::Info, "prompt received");
//! }
//! let report = pipeline.shutdown(Duration::from_secs(10));
//! // The start, the log and the end.
//! assert_eq!(report.ledger.sinks[0].delivered, 3);
//! assert_eq!(seen.ended_spans()[0].name, "chat");
//! # Ok::<(), telemetry_pipeline::StartError>(())
//! ```
//!
//! # What happens to an event
//!
//! 1. The caller's thread writes a record into its ring buffer: about 110 ns for a span with its start, a log
//!    and its end. A full ring refuses the newest event and counts it. A record above 2 KiB also needs room
//!    in a byte budget.
//! 2. The assembler thread takes the records of all rings in the order of their time and
//!    [removes content](Redaction) that should not be stored. The assembler makes signals of them.
//! 3. Up to 256 signals become one chunk, which all workers share without copying it.
//! 4. Each worker has a queue bounded in bytes. A sink can continue its queue on disk in a spool, which also
//!    survives a restart. What does not fit is dropped and counted.
//! 5. The worker makes a batch for its sink. Errors that may pass are retried with growing waits.
//!
//! [`Telemetry::submit`] skips the rings and the redaction. It takes events that other processes logged, and
//! answers with a [`Receipt`].
//!
//! # What is guaranteed
//!
//! - Logging never blocks and never fails its caller.
//! - Nothing is lost silently. For every sink, `accepted = delivered + failed + dropped + pending`.
//! - A receipt completes only after every store has committed. Nothing is acknowledged from memory.
//! - A retried batch keeps its id, so a store never stores it twice.
//! - Every sink has a thread and a runtime of its own. A sink that panics, hangs or is slow disturbs no other
//!   sink, and not the caller's runtime.
//! - A shutdown ends at its deadline, even if a sink does not.

mod accounting;
pub mod assembler;
mod catch_panic;
mod config;
mod deadline;
mod error;
mod ids;
mod pipeline;
mod queue;
mod redaction;
mod span;
mod spool;
mod telemetry;
mod traceparent;
mod worker;

pub use accounting::{IngestLedger, Ledger, NotStored, Receipt, SinkLedger, SinkState};
pub use config::PipelineConfig;
pub use error::{StartError, StartFailure, SubmitError};
pub use ids::{random_span_id, random_trace_id};
pub use pipeline::{Pipeline, ShutdownReport, SinkSpec, is_pipeline_thread};
pub use redaction::{Content, MASK, Redact, Redaction, Verdict};
pub use span::{
    Entered, FutureExt, InSpan, SpanBuilder, SpanContext, SpanGuard, SpanHandle, current_span, enter, leave,
};
pub use telemetry::{FlushReport, Telemetry};
pub use traceparent::{TraceParent, TraceParentError};
