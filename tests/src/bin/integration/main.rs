//! Drives the real server with real clients and peers: `cargo xtask integration`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to its user")]

mod clients;
mod deploy;
mod otel;
mod peers;
mod prometheus;
mod sdk;
mod sqlite;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};

/// Drives a running server with real clients and peers.
#[derive(Parser)]
#[command(name = "integration")]
struct Arguments {
    /// Run only this part
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Run more rounds of the fault tests and longer outages
    #[arg(long)]
    full: bool,
}

/// A part of the integration tests.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The real llama-stack-client makes every call, before and after a restart
    Client,
    /// schemathesis sends requests that it derives from the OpenAPI document
    Openapi,
    /// A real Prometheus scrapes the server, and promtool checks the page
    Prometheus,
    /// The OpenTelemetry SDKs of Python and JavaScript send, and every query route is checked
    Sdk,
    /// The store under real faults: kill -9, a full disk, other readers, a deleted file
    Sqlite,
    /// OTLP export to the OpenTelemetry Collector, Jaeger, Prometheus and rotel, with outages
    Otel,
    /// Every file of deploy/, checked by the program that reads it or by a linter
    Deploy,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.only, arguments.full) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one part or all. After a failure the other parts still run.
fn run(only: Option<Part>, full: bool) -> Result<()> {
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
            Part::Client => clients::llama_stack(),
            Part::Openapi => clients::schemathesis(),
            Part::Prometheus => prometheus::run(),
            Part::Sdk => sdk::run(),
            Part::Sqlite => sqlite::run(full),
            Part::Otel => otel::run(full),
            Part::Deploy => deploy::run(),
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
