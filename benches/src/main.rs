//! One bench per performance promise, each beside a peer or a limit measured in the same run.
//!
//! `cargo xtask bench NAME` builds them optimised and runs one. What each number means is in README.md.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

#[cfg(feature = "count-allocations")]
mod allocations;
mod caller;
mod cpu;
mod fan_out;
mod http;
mod otlp_receive;
mod otlp_send;
mod phoenix;
mod purge;
mod sdk;
mod sqlite;
mod table;
mod through_tracing;
mod tower;

use clap::{Parser, Subcommand};

/// Benches of the telemetry workspace.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Cost of a span on the caller's thread, beside fastrace and OpenTelemetry's SDK
    Caller,
    /// The same through `tracing`, beside tracing-opentelemetry
    ThroughTracing,
    /// Allocations of a span on the caller's thread
    #[cfg(feature = "count-allocations")]
    Allocations,
    /// Cost of one more sink, per signal
    FanOut,
    /// Spans into SQLite, durable, beside plain rows; queries as the store grows
    Sqlite {
        /// How many spans
        #[arg(long, default_value_t = 1_000_000)]
        spans: usize,
        /// Ten million
        #[arg(long)]
        full: bool,
    },
    /// Writes while many spans expire; the disk space that comes back
    Purge {
        /// How many spans
        #[arg(long, default_value_t = 1_000_000)]
        spans: usize,
    },
    /// Acknowledged events over HTTP; start time and memory of the server
    Http {
        /// The server's program, built with `cargo build --release`
        #[arg(long)]
        program: std::path::PathBuf,
        /// Seconds of load
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Spans in by OTLP, acknowledged durable
    OtlpReceive {
        /// The server's program, built with `cargo build --release`
        #[arg(long)]
        program: std::path::PathBuf,
        /// How many spans
        #[arg(long, default_value_t = 204_800)]
        spans: u64,
        /// Another OTLP receiver, `http://ADDR`, that gets the same
        #[arg(long)]
        peer: Option<String>,
        /// Arize Phoenix's command, which is started and gets some of the same
        #[arg(long)]
        phoenix: Option<std::path::PathBuf>,
    },
    /// Spans out by OTLP, beside OpenTelemetry's exporter alone
    OtlpSend,
    /// Cost of the tower layers per request, beside the service alone
    Tower,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().bench {
        Bench::Caller => caller::run(),
        Bench::ThroughTracing => through_tracing::run(),
        #[cfg(feature = "count-allocations")]
        Bench::Allocations => allocations::run(),
        Bench::FanOut => fan_out::run(),
        Bench::Sqlite { spans, full } => sqlite::run(if full { 10_000_000 } else { spans }),
        Bench::Purge { spans } => purge::run(spans),
        Bench::Http { program, seconds } => http::run(program, seconds),
        Bench::OtlpReceive { program, spans, peer, phoenix } => {
            otlp_receive::run(program, spans, peer.as_deref(), phoenix.as_deref())
        }
        Bench::OtlpSend => otlp_send::run(),
        Bench::Tower => tower::run(),
    }
}
