//! The sink `ndjson`: writes spans, logs and metrics to files of JSON lines, with rotation.
//!
//! ```text
//! {"type":"log","context":{"Span":{"trace_id":"…","span_id":"…"}},"timestamp":"2026-03-01T12:00:00Z","body":…}
//! {"type":"span","trace_id":"…","span_id":"…","parent_span_id":null,"name":"chat",…}
//! ```
//!
//! Any program that reads JSON can read it: `jq 'select(.type == "span") | .name' telemetry.ndjson`.
//!
//! A program links the crate with one line. Then its configuration can choose the sink:
//!
//! ```text
//! telemetry_provider::link_sinks!(sink_ndjson);
//! ```
//!
//! ```yaml
//! config:
//!   sinks: [console, sqlite, ndjson]
//!   ndjson: {path: /var/log/telemetry.ndjson, max_file_size: 64MiB, max_files: 5}
//! ```
//!
//! A batch that would make the file larger than `max_file_size` goes to a new file. The old file is renamed to
//! `telemetry.ndjson.1`, the one before to `telemetry.ndjson.2`, and so on. The sink keeps `max_files` files and deletes
//! the oldest. If another program moves the file away, the sink creates a new one.

mod config;
mod files;
pub mod line;
mod sink;

use telemetry_core::{BuiltSink, SignalSet, SinkContext, SinkEntry, SinkError};

pub use config::Config;
pub use sink::NdjsonSink;

/// The sink `ndjson`.
pub static ENTRY: SinkEntry = SinkEntry {
    name: "ndjson",
    summary: "appends spans, logs and metrics to files of JSON lines, with rotation",
    keys: config::KEYS,
    build: |context| Box::pin(async { build(context) }),
};

telemetry_core::register_sink!(ENTRY);

fn build(context: &SinkContext) -> Result<BuiltSink, SinkError> {
    let config = Config::from_options(&context.options)
        .map_err(|error| SinkError::close("the options can't be used").source(error))?;
    // A span is written once, when it has ended.
    let interest = SignalSet::SPAN_ENDED | SignalSet::LOG | SignalSet::METRIC;
    Ok(BuiltSink::new(NdjsonSink::open(config)?, interest))
}
