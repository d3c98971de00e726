//! Every combination of the provider's features: each builds without warnings, and has just its sinks.

use anyhow::{Result, bail};

use crate::command::{self, cargo};

const FEATURES: [&str; 3] = ["console", "sqlite", "otel"];

/// Every set of features, the empty one first.
pub(crate) fn combinations() -> impl Iterator<Item = Vec<&'static str>> {
    (0..1_u32 << FEATURES.len()).map(|combination| {
        let chosen = FEATURES.iter().enumerate().filter(|(bit, _)| combination & (1 << bit) != 0);
        chosen.map(|(_, feature)| *feature).collect()
    })
}

pub(crate) fn run() -> Result<()> {
    for chosen in combinations() {
        let features = chosen.join(",");
        eprintln!("features: [{features}]");
        let common = ["--package", "telemetry-provider", "--no-default-features", "--features", &features];
        command::run(
            cargo(&["clippy", "--quiet", "--all-targets"]).args(common).args(["--", "-D", "warnings"]),
        )?;
        command::run(cargo(&["test", "--quiet", "--test", "features"]).args(common))?;
        pulls_in_only_its_own(&chosen, &common)?;
    }
    Ok(())
}

/// What a feature drags in stays out of the builds without it.
fn pulls_in_only_its_own(chosen: &[&str], common: &[&str]) -> Result<()> {
    /// The first letters of packages that come with a feature alone.
    const HEAVY: [(&str, &str); 4] =
        [("sqlite", "sqlx"), ("sqlite", "libsqlite"), ("otel", "opentelemetry"), ("otel", "reqwest")];
    let mut tree =
        cargo(&["tree", "--quiet", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
    let tree = command::output(tree.args(common))?;
    for (feature, package) in HEAVY {
        let is_there = tree.lines().any(|line| line.starts_with(package));
        if is_there != chosen.contains(&feature) {
            let state = if is_there { "pulls in" } else { "lacks" };
            bail!("a build with [{}] {state} `{package}`", chosen.join(","));
        }
    }
    Ok(())
}
