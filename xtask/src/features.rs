//! Every combination of the provider's features: each builds without warnings, and has just its sinks.

use anyhow::Result;

use crate::command::{self, cargo};

const FEATURES: [&str; 3] = ["console", "sqlite", "otel"];

pub(crate) fn run() -> Result<()> {
    for combination in 0..1_u32 << FEATURES.len() {
        let chosen: Vec<&str> = FEATURES
            .iter()
            .enumerate()
            .filter(|(bit, _)| combination & (1 << bit) != 0)
            .map(|(_, feature)| *feature)
            .collect();
        let features = chosen.join(",");
        eprintln!("features: [{features}]");
        let common = ["--package", "telemetry-provider", "--no-default-features", "--features", &features];
        command::run(
            cargo(&["clippy", "--quiet", "--all-targets"]).args(common).args(["--", "-D", "warnings"]),
        )?;
        command::run(cargo(&["test", "--quiet", "--test", "features"]).args(common))?;
    }
    Ok(())
}
