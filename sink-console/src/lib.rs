//! The sink `console`: one readable line per span start, span end, log and metric.
//!
//! ```text
//! 12:00:00.000 [START] POST /v1/inference/chat/completions
//!     model_id: llama-3.2-3b
//! 12:00:00.013 [WARN] the provider answers slowly
//!     attempt: 2
//! 12:00:00.021 [METRIC] prompt_tokens=42 tokens {model_id=llama-3.2-3b}
//! 12:00:00.034 [END] POST /v1/inference/chat/completions [ERROR] (34.00ms)
//!     model_id: llama-3.2-3b
//! ```
//!
//! Times are UTC. Attributes follow on lines of their own, and values are cut at 1,000 characters.
//! Attributes whose key begins with `__` are not shown. Control characters are escaped, so that a log line
//! cannot control the terminal. Lines go to stderr, in colours if that is a terminal; see [`Config`].
//! With `format: json` every line is one JSON object, and nothing is cut; see [`json`].
//!
//! An end whose start is unknown is not shown. The pipeline delivers the span when the start arrives, or
//! after a limit.
//!
//! The formats are functions that can be used without the sink:
//!
//! ```
//! use telemetry_core::{Signal, Span, SpanId, SpanKey, Timestamp, TraceId};
//!
//! let key = SpanKey::new(TraceId::from_u128(1).unwrap(), SpanId::from_u64(2).unwrap());
//! let started = Signal::SpanStarted(Span::open(key, "chat", Timestamp::from_nanos(0)).into());
//! assert_eq!(sink_console::format::to_text(&started, false), "00:00:00.000 [START] chat\n");
//! ```

mod config;
mod escape;
pub mod format;
pub mod json;
mod sink;

use std::io::{IsTerminal as _, stderr, stdout};

use telemetry_core::{BuiltSink, SinkContext, SinkEntry, SinkError};

pub use config::{Color, Config, Format, Stream};
pub use sink::ConsoleSink;

/// The sink `console`.
pub static ENTRY: SinkEntry = SinkEntry {
    name: "console",
    summary: "prints a readable line, or a JSON object, per signal",
    keys: config::KEYS,
    build: |context| Box::pin(async { build(context) }),
};

telemetry_core::register_sink!(ENTRY);

/// Checks the options, as building the sink does. Opens nothing.
///
/// # Errors
///
/// Returns the [`SinkError`] that building would return for the first invalid option.
pub fn check(context: &SinkContext) -> Result<(), SinkError> {
    config(context).map(drop)
}

fn config(context: &SinkContext) -> Result<Config, SinkError> {
    Config::from_options(&context.options)
        .map_err(|error| SinkError::close("cannot set up the console").source(error))
}

fn build(context: &SinkContext) -> Result<BuiltSink, SinkError> {
    let config = config(context)?;
    Ok(match config.stream {
        Stream::Stderr => ConsoleSink::new(stderr(), config, stderr().is_terminal()).built(),
        Stream::Stdout => ConsoleSink::new(stdout(), config, stdout().is_terminal()).built(),
    })
}
