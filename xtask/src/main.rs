//! Every chore of the workspace, and all that CI runs: `cargo xtask --help`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to its user")]

mod api;
mod bench;
mod ci;
mod command;
mod features;
mod linkage;
mod new_sink;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of the telemetry workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run all tests: unit, integration and documentation
    Test,
    /// Run everything that CI runs and print a summary
    Ci {
        /// Also run what takes hours: long fault rounds, big benches, linkage in every profile
        #[arg(long)]
        full: bool,
    },
    /// Check formatting, clippy and rustdoc, without warnings
    Lint,
    /// Run the examples to their ends and check what they leave behind
    Examples,
    /// Build every combination of the provider's features and check which sinks each has
    Features {
        /// Print a table instead: the size of a small optimised program with each combination
        #[arg(long)]
        sizes: bool,
        /// Build each from nothing and add its build time; about fifteen minutes on two cores
        #[arg(long, requires = "sizes")]
        cold: bool,
    },
    /// Compare the public API with the listing in api/
    Api {
        /// Write the listing
        #[arg(long)]
        update: bool,
    },
    /// Check the house rules: dependencies, circles, file lengths, contract cases, documents
    Tidy,
    /// Generate a new sink: a crate that compiles and keeps the whole contract
    NewSink {
        /// Its name in the configuration, for example `held-out`
        name: String,
        /// A new or empty folder, inside or outside the workspace [default: `sink-NAME` in the workspace]
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
    /// Check that linked sinks are found: a generated one, the example, and others in small programs
    Linkage {
        /// Also build with release, fat LTO and as a C library
        #[arg(long)]
        full: bool,
    },
    /// Run an optimised bench beside its peer or limit
    Bench {
        /// Which one
        #[arg(value_enum)]
        bench: bench::Bench,
        /// Also measure a product that must be installed: Arize Phoenix beside `otlp-receive`
        #[arg(long)]
        peer: bool,
        /// Arguments of the bench itself, for example `--spans 1000000`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Drive a running server with real clients and peers
    Integration {
        /// Run only this part: client, openapi, prometheus, sdk, sqlite, otel or deploy
        #[arg(long, value_name = "PART")]
        only: Option<String>,
        /// Run more rounds of the fault tests and longer outages
        #[arg(long)]
        full: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.task {
        Task::Test => ci::test(),
        Task::Ci { full } => ci::run(full),
        Task::Lint => ci::lint(),
        Task::Examples => ci::examples(),
        Task::Features { sizes: true, cold } => features::print_sizes(cold),
        Task::Features { .. } => features::run(),
        Task::Api { update } => api::run(update),
        Task::Tidy => tidy::run(),
        Task::NewSink { name, path } => new_sink::run(&name, path.as_deref()),
        Task::Linkage { full } => linkage::run(full),
        Task::Bench { bench, peer, arguments } => bench::run(bench, peer, &arguments),
        Task::Integration { only, full } => ci::integration(only.as_deref(), full),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
