//! Simulates one request and records it with three sinks, one of them by a third party.
//!
//! ```sh
//! cargo run -p program            # with program/run.yaml
//! cargo run -p program my.yaml    # with another configuration
//! ```

use std::process::ExitCode;
use std::time::Duration;

use telemetry_core::{Event, Severity, attrs};
use telemetry_provider::{Provider, ProviderError};

// Without this line, the crate is not linked and `ndjson` is unknown.
telemetry_provider::link_sinks!(sink_ndjson);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), ProviderError> {
    let path = std::env::args().nth(1);
    let path = path.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/run.yaml").to_owned());
    let provider = Provider::from_file(path)?;
    let telemetry = provider.telemetry();
    {
        let request = telemetry.span("POST /v1/chat/completions", attrs! { "model_id" => "llama-3.2-3b" });
        let _entered = request.enter();
        telemetry.log_event(Event::log(Severity::Info, "prompt received"));
        let inference = telemetry.span("inference", attrs! { "stream" => false });
        inference.log(Severity::Warn, "the cache is cold");
        telemetry.log_event(Event::metric("completion_tokens", 42, "tokens"));
    }
    let report = provider.shutdown(Duration::from_secs(10));
    for sink in &report.ledger.sinks {
        println!("{}: {} delivered of {} accepted", sink.name, sink.delivered, sink.accepted);
        if let Some(error) = &sink.last_error {
            println!("  {error}");
        }
    }
    Ok(())
}
