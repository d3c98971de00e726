//! Every chore of the workspace, and all that CI runs: `cargo xtask --help`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to its user")]

mod api;
mod bench;
mod ci;
mod command;
mod examples;
mod features;
mod integration;
mod linkage;
mod new_sink;
mod python;
mod sizes;
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
    /// Run everything CI runs, in its order, and print a summary
    Ci {
        /// Also what takes hours: long fault rounds, big benches, linkage in every profile
        #[arg(long)]
        full: bool,
    },
    /// Formatting, clippy and rustdoc, all without warnings
    Lint,
    /// Run the examples to their ends and check what they leave behind
    Examples,
    /// Build every combination of the provider's features and check which sinks each has
    Features {
        /// Instead: what a small program with each of them weighs when optimised, as a table
        #[arg(long)]
        sizes: bool,
        /// Build each from nothing, and add the seconds that takes; some fifteen minutes on two cores
        #[arg(long, requires = "sizes")]
        cold: bool,
    },
    /// Compare the public API with what is stored in api/
    Api {
        /// Store it as it is now
        #[arg(long)]
        update: bool,
    },
    /// Check the house rules: dependencies, file sizes, contract cases, names in ARCHITECTURE.md
    Tidy,
    /// Begin a new sink: a crate that compiles and keeps the whole contract
    NewSink {
        /// Its name in the configuration, like `held-out`
        name: String,
        /// Its folder, inside or outside the workspace, new or empty; by default `sink-NAME` in the workspace
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
    /// Check that sinks are linked and found: a new one, the example, and in every profile with `--full`
    Linkage {
        /// Also release, fat LTO and a C library
        #[arg(long)]
        full: bool,
    },
    /// Run a bench, optimised, beside its peer or limit
    Bench {
        /// Which one
        #[arg(value_enum)]
        bench: bench::Bench,
        /// Beside another product where that takes an installation: `otlp-receive` beside Arize Phoenix
        #[arg(long)]
        peer: bool,
        /// Arguments of the bench itself, e.g. `--spans 1000000`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Drive a running server with real clients and peers
    Integration {
        /// Just this part
        #[arg(long, value_enum)]
        only: Option<integration::Part>,
        /// More rounds of the fault tests, longer outages
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
        Task::Examples => examples::run(),
        Task::Features { sizes: true, cold } => sizes::run(cold),
        Task::Features { .. } => features::run(),
        Task::Api { update } => api::run(update),
        Task::Tidy => tidy::run(),
        Task::NewSink { name, path } => new_sink::run(&name, path.as_deref()),
        Task::Linkage { full } => linkage::run(full),
        Task::Bench { bench, peer, arguments } => bench::run(bench, peer, &arguments),
        Task::Integration { only, full } => integration::run(only, full),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
