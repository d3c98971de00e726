//! Real clients and peers against the real program.

mod client;
mod openapi;
mod otel;
mod prometheus;
mod sdk;
mod sqlite;

use anyhow::Result;
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
}

/// Runs one part, or all.
pub(crate) fn run(only: Option<Part>, full: bool) -> Result<()> {
    let parts = match &only {
        Some(part) => std::slice::from_ref(part),
        None => Part::value_variants(),
    };
    for part in parts {
        match part {
            Part::Client => client::run()?,
            Part::Openapi => openapi::run()?,
            Part::Prometheus => prometheus::run()?,
            Part::Sdk => sdk::run()?,
            Part::Sqlite => sqlite::run(full)?,
            Part::Otel => otel::run(full)?,
        }
    }
    Ok(())
}
