//! Builds and runs an optimised bench.

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::command::{self, cargo, target_dir};

/// A bench. benches/README.md explains its figures.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// Cost of a span on the caller's thread, beside fastrace and tracing-opentelemetry; its allocations
    Caller,
    /// Cost of one more sink per signal, with 4 and 16 sinks that do nothing
    FanOut,
    /// Spans into SQLite and queries, beside plain rows
    Sqlite,
    /// Writes while a million spans expire, and the disk space that is freed
    Purge,
    /// Acknowledged events over HTTP, start time, memory
    Http,
    /// Spans received by OTLP and acknowledged as durable, beside the promise and a peer
    OtlpReceive,
    /// Spans sent by OTLP, beside the exporter alone
    OtlpSend,
    /// Cost of the tower layers per request, beside the service alone
    Tower,
}

/// Runs one bench with its own `arguments`, and with `peer` beside the product that is installed for it.
pub(crate) fn run(bench: Bench, peer: bool, arguments: &[String]) -> Result<()> {
    ensure!(!peer || bench == Bench::OtlpReceive, "--peer works with `otlp-receive` alone");
    let build = ["run", "--quiet", "--profile", "bench", "--package", "telemetry-benches"];
    let mut command = cargo(&build);
    command.arg("--");
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
        command.arg("--phoenix");
    }
    command::run(command.args(arguments))?;
    if bench == Bench::Caller {
        command::run(cargo(&build).args(["--", "through-tracing"]))?;
        // A build of its own, because counting allocations slows everything else down.
        command::run(cargo(&build).args(["--features", "count-allocations", "--", "allocations"]))?;
    }
    Ok(())
}
