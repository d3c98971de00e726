//! Real clients and peers against the real program.

mod client;
mod deploy;
mod go;
mod openapi;
mod otel;
mod parts;
mod peers;
mod prometheus;
mod sdk;
mod sqlite;

use std::time::Instant;

use anyhow::{Result, ensure};
use clap::ValueEnum;

/// A part of the integration tests.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The real llama-stack-client, every call, also after a restart
    Client,
    /// schemathesis asks what the OpenAPI document says
    Openapi,
    /// A real Prometheus scrapes the server, promtool reads its page
    Prometheus,
    /// The OpenTelemetry SDKs of Python and JavaScript send, every query route answers
    Sdk,
    /// The store under real faults: kill -9, a full disk, other readers, a deleted file
    Sqlite,
    /// OTLP out: the OpenTelemetry Collector, Jaeger, Prometheus, rotel, and outages
    Otel,
    /// Every file of deploy/, read by the program it is for, or checked by the linter of its kind
    Deploy,
}

/// Runs one part, or all; one that fails does not keep the others from running.
pub(crate) fn run(only: Option<Part>, full: bool) -> Result<()> {
    let parts = match &only {
        Some(part) => std::slice::from_ref(part),
        None => Part::value_variants(),
    };
    let mut failed = Vec::new();
    for part in parts {
        let name = part.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        eprintln!("-- {name}");
        let started = Instant::now();
        let outcome = match part {
            Part::Client => client::run(),
            Part::Openapi => openapi::run(),
            Part::Prometheus => prometheus::run(),
            Part::Sdk => sdk::run(),
            Part::Sqlite => sqlite::run(full),
            Part::Otel => otel::run(full),
            Part::Deploy => deploy::run_all(),
        };
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => eprintln!("-- {name} passed in {seconds:.0} s"),
            Err(error) => {
                eprintln!("-- {name} failed after {seconds:.0} s: {error:#}");
                failed.push(name);
            }
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}
