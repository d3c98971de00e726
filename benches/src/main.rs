//! One bench per performance promise, each beside a peer or a limit measured in the same run.
//!
//! `cargo xtask bench NAME` builds and runs one, optimised. README.md explains the figures.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

#[cfg(feature = "count-allocations")]
mod allocations;
mod bursts;
mod caller;
mod counting;
mod fan_out;
mod figures;
mod http;
mod otlp_receive;
mod otlp_send;
mod peers;
mod phoenix;
mod purge;
mod sqlite;
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
    /// Spans into SQLite, acknowledged as durable, beside plain rows; queries as the store grows
    Sqlite {
        /// How many spans
        #[arg(long, default_value_t = 1_000_000)]
        spans: usize,
        /// Ten million spans
        #[arg(long)]
        full: bool,
    },
    /// Writes while many spans expire; the disk space that is freed
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
    /// Spans received by OTLP and acknowledged as durable
    OtlpReceive {
        /// The server's program, built with `cargo build --release`
        #[arg(long)]
        program: std::path::PathBuf,
        /// How many spans
        #[arg(long, default_value_t = 204_800)]
        spans: u64,
        /// Another OTLP receiver, `http://ADDR`, that receives the same requests
        #[arg(long)]
        peer: Option<String>,
        /// Also install and start Arize Phoenix, and send it some of the requests
        #[arg(long)]
        phoenix: bool,
    },
    /// Spans sent by OTLP, beside OpenTelemetry's exporter alone
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
            otlp_receive::run(program, spans, peer.as_deref(), phoenix)
        }
        Bench::OtlpSend => otlp_send::run(),
        Bench::Tower => tower::run(),
    }
}
