//! The bodies of the API, for its OpenAPI document. `telemetry_core::wire` parses and writes them: it finds all
//! problems of a body at once, and accepts what Llama Stack accepts.
#![expect(dead_code, reason = "the types only describe the bodies")]
#![expect(clippy::struct_field_names, reason = "the names are those of the API")]

mod answers;
mod errors;
mod requests;

pub(super) use answers::{
    Health, Ledger, LoggedAnswer, Logs, Metrics, SpanTree, SpanWithEvents, Spans, Trace, Traces, Version,
};
pub(super) use errors::{Failure, Invalid, OtlpFailure, OtlpRefused, Refused};
pub(super) use requests::{Export, LogQuery, Logged, MetricQuery, Null, SpanQuery, TraceQuery, TreeQuery};
