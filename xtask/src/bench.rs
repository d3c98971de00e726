//! Runs a bench, optimised.

use anyhow::{Result, ensure};
use clap::ValueEnum;
use telemetry_tests::target_dir;

use crate::command::{self, cargo};
use crate::python;

const PHOENIX: &str = "arize-phoenix==20.26.1";

/// A bench; what its numbers mean is in benches/README.md.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// Cost of a span on the caller's thread, beside fastrace and tracing-opentelemetry; its allocations
    Caller,
    /// Cost of one more sink, per signal, with 4 and 16 that do nothing
    FanOut,
    /// Spans into SQLite and queries, beside plain rows
    Sqlite,
    /// Writes while a million spans expire, and the disk space that comes back
    Purge,
    /// Acknowledged events over HTTP, start time, memory
    Http,
    /// Spans in by OTLP, acknowledged durable, beside the promise and a peer
    OtlpReceive,
    /// Spans out by OTLP, beside the bare exporter
    OtlpSend,
    /// Cost of the tower layers per request, beside the service alone
    Tower,
}

/// Builds and runs one bench, beside its installed peer if asked; `arguments` are the bench's own.
pub(crate) fn run(bench: Bench, peer: bool, arguments: &[String]) -> Result<()> {
    ensure!(!peer || bench == Bench::OtlpReceive, "only `otlp-receive` has a peer that is installed for it");
    let mut command =
        cargo(&["run", "--quiet", "--profile", "bench", "--package", "telemetry-benches", "--"]);
    match bench {
        Bench::Caller => command.arg("caller"),
        Bench::FanOut => command.arg("fan-out"),
        Bench::Sqlite => command.arg("sqlite"),
        Bench::Purge => command.arg("purge"),
        Bench::OtlpSend => command.arg("otlp-send"),
        Bench::Tower => command.arg("tower"),
        Bench::Http | Bench::OtlpReceive => {
            command::run(&mut cargo(&["build", "--release", "--package", "telemetry-server"]))?;
            let name = if bench == Bench::Http { "http" } else { "otlp-receive" };
            command.args([name, "--program"]).arg(target_dir().join("release/telemetry"))
        }
    };
    if peer {
        let python = python::environment("phoenix", &[PHOENIX])?;
        command.arg("--phoenix").arg(python.with_file_name("phoenix"));
    }
    command::run(command.args(arguments))?;
    if bench == Bench::Caller {
        let build = ["run", "--quiet", "--profile", "bench", "--package", "telemetry-benches"];
        command::run(cargo(&build).args(["--", "through-tracing"]))?;
        // In a build of its own: an allocator that counts would slow the rest down.
        command::run(cargo(&build).args(["--features", "count-allocations", "--", "allocations"]))?;
    }
    Ok(())
}
