//! The command line. Each command has its own file.

mod check;
mod database;
mod doctor;
mod export_loop;
mod import;
mod serve;
mod sinks;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::output;

/// Telemetry for LLM servers: log events and look at the traces afterwards, without extra servers.
#[derive(Debug, Parser)]
#[command(name = "telemetry", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve Llama Stack's telemetry API and receive OTLP
    ///
    /// Without a file the sinks are `console,sqlite` and the database is
    /// ~/.llama/runtime/trace_store.db. These environment variables change that: TELEMETRY_SINKS,
    /// OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_ENDPOINT, SQLITE_STORE_DIR.
    ///
    /// On SIGTERM, Ctrl-C, SIGHUP or SIGQUIT the server answers the requests it has accepted, stores their events, and
    /// exits with code 0.
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::Arguments),
    /// Check a configuration and show what it would run
    Check {
        /// A run.yaml of Llama Stack, or only its `telemetry:` list
        config: PathBuf,
        /// Accept an address that is open to other machines although no token is required
        #[arg(long)]
        insecure: bool,
    },
    /// List the sinks of this program and their options
    Sinks,
    /// Import a database that Llama Stack wrote
    ///
    /// Imports every trace, span, log and metric point with its ids, times and attributes. They are kept
    /// for seven days from now, or longer if their expiry says so. Rows that were imported before are
    /// skipped, so an interrupted import can be run again. Stop `telemetry serve` on the same database
    /// first.
    #[command(after_help = import::EXAMPLES)]
    Import(import::Arguments),
    /// Check the database, and show its size and what would be purged
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::Arguments),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments).map(|()| 0),
        Command::Check { config, insecure } => check::run(&config, insecure).map(|()| 0),
        Command::Sinks => sinks::run().map(|()| 0),
        Command::Import(arguments) => import::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
    };
    match outcome {
        Ok(code) => code.into(),
        Err(error) => {
            output::print_error(format_args!("error: {}", with_causes(&*error)));
            ExitCode::FAILURE
        }
    }
}

/// Returns the message of an error and its causes, on one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
