//! The bodies of the API as its OpenAPI document describes them. Reading and writing them is the work of
//! `telemetry_core::wire`, which finds all problems of a body at once and is lenient where the reference is.
#![expect(dead_code, reason = "the types are described, not built")]
#![expect(clippy::struct_field_names, reason = "the names are the API's")]

mod answers;
mod refusals;
mod requests;

pub(super) use answers::{
    Health, Ledger, LoggedAnswer, Logs, Metrics, SpanTree, SpanWithEvents, Spans, Trace, Traces, Version,
};
pub(super) use refusals::{Failure, Invalid, OtlpFailure, OtlpRefused, Refused};
pub(super) use requests::{Export, LogQuery, Logged, MetricQuery, Null, SpanQuery, TraceQuery, TreeQuery};
