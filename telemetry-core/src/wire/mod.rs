//! The JSON forms of Llama Stack's telemetry API: events in, queries in, answers out.
//!
//! Readers report all problems of a body at once, each with its place, in the shape of the reference's
//! validation errors (`{"loc": […], "msg": …, "type": …}`).
//!
//! ```
//! use telemetry_core::wire::{Problems, parse, read_event_body};
//!
//! let body = parse(br#"{"event": {"type": "metric", "metric": "", "value": "x", "unit": "s"}}"#)?;
//! let mut problems = Problems::default();
//! assert!(read_event_body(&body, &mut problems).is_none());
//! let places: Vec<String> = problems.iter().map(|problem| problem.place()).collect();
//! assert_eq!(places, ["body.event.metric.timestamp", "body.event.metric.metric", "body.event.metric.value"]);
//! # Ok::<(), telemetry_core::wire::Problem>(())
//! ```

mod answers;
mod events;
mod parse;
mod problem;
mod queries;
mod reader;

pub use answers::{
    log_json, metric_series_json, span_json, span_tree_json, span_with_events_json, trace_json,
};
pub use events::{EventBatch, RejectedEvent, read_event_batch, read_event_body};
pub use parse::parse;
pub use problem::{LocPart, Problem, Problems};
pub use queries::{
    ExportRequest, TreeRequest, read_export, read_log_query, read_metric_query, read_span_query,
    read_trace_query, read_tree_query,
};
