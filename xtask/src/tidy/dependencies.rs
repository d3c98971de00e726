//! Which crate may depend on which.

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use crate::command::root;

/// Each crate, and the crates of the workspace it may depend on (tests apart).
const ALLOWED: &[(&str, &[&str])] = &[
    ("telemetry-core", &[]),
    ("telemetry-pipeline", &["telemetry-core"]),
    ("telemetry-testkit", &["telemetry-core"]),
    ("sink-console", &["telemetry-core"]),
    ("sink-sqlite", &["telemetry-core"]),
    ("sink-otel", &["telemetry-core"]),
    (
        "telemetry-provider",
        &["telemetry-core", "telemetry-pipeline", "sink-console", "sink-sqlite", "sink-otel"],
    ),
    ("telemetry-tracing", &["telemetry-core", "telemetry-pipeline"]),
    ("telemetry-tokens", &["telemetry-core", "telemetry-pipeline"]),
    ("telemetry-tower", &["telemetry-core", "telemetry-pipeline"]),
    ("telemetry-server", &["telemetry-core", "telemetry-pipeline", "telemetry-provider", "sink-sqlite"]),
];

/// Crates that hold tests, benches, examples and chores: nothing depends on them, they may use anything.
const OUTSIDE: &[&str] = &["telemetry-tests", "telemetry-benches", "telemetry-examples", "xtask"];

/// Foreign crates that a crate must not pull in, tests apart.
const BANNED: &[(&str, &[&str])] = &[
    ("telemetry-core", &["tokio", "sqlx", "serde-saphyr", "axum", "reqwest", "tracing"]),
    ("telemetry-pipeline", &["sqlx", "serde-saphyr", "axum", "reqwest"]),
    ("telemetry-tower", &["axum", "hyper", "tokio", "tonic", "tower"]),
    ("sink-console", &["tokio", "sqlx", "serde-saphyr"]),
    ("sink-sqlite", &["serde-saphyr", "axum", "reqwest"]),
    ("sink-otel", &["serde-saphyr", "axum", "sqlx"]),
];

fn workspace() -> Result<Vec<Package>> {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec()?;
    Ok(metadata.packages)
}

fn dependencies(package: &Package) -> impl Iterator<Item = &str> {
    let normal =
        package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
    normal.map(|dependency| dependency.name.as_str())
}

pub(crate) fn direction() -> Result<Vec<String>> {
    let packages = workspace()?;
    let ours: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in &packages {
        let name = package.name.as_str();
        if OUTSIDE.contains(&name) {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            // A sink of one's own: it may know the contract and nothing else.
            findings.extend(
                dependencies(package).filter(|other| ours.contains(other) && *other != "telemetry-core").map(
                    |other| format!("{name} depends on {other}: a sink depends on telemetry-core alone"),
                ),
            );
            continue;
        };
        for other in dependencies(package) {
            if ours.contains(&other) && !allowed.contains(&other) {
                findings.push(format!("{name} depends on {other}"));
            }
            if BANNED.iter().any(|(banned_in, banned)| *banned_in == name && banned.contains(&other)) {
                findings.push(format!("{name} depends on {other}, which it must do without"));
            }
        }
    }
    Ok(findings)
}

pub(crate) fn core_is_pure() -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for (path, text) in super::sources::rust_files("telemetry-core/src")? {
        for word in ["std::fs", "std::net", "std::thread", "std::process", "std::env"] {
            if text.contains(word) {
                findings.push(format!(
                    "{}: {word}",
                    path.strip_prefix(root()).context("in the workspace")?.display()
                ));
            }
        }
    }
    Ok(findings)
}
