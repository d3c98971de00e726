//! Which crate may depend on which.

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use crate::command::root;

/// What a sink may depend on.
const SINK: &[&str] = &["telemetry-core", "telemetry-files"];

/// Each crate, and the crates of the workspace that it may depend on. Tests may use more.
/// A crate that is not listed is a sink.
const ALLOWED: &[(&str, &[&str])] = &[
    ("telemetry-core", &[]),
    ("telemetry-files", &[]),
    ("telemetry-otlp", &["telemetry-core"]),
    ("telemetry-pipeline", &["telemetry-core", "telemetry-files"]),
    ("telemetry-testkit", &["telemetry-core"]),
    (
        "telemetry-provider",
        &["telemetry-core", "telemetry-pipeline", "sink-console", "sink-sqlite", "sink-otel"],
    ),
    ("telemetry-tracing", &["telemetry-core", "telemetry-pipeline"]),
    ("telemetry-tokens", &["telemetry-core", "telemetry-pipeline"]),
    ("telemetry-tower", &["telemetry-core", "telemetry-pipeline"]),
    (
        "telemetry-server",
        &[
            "telemetry-core",
            "telemetry-files",
            "telemetry-otlp",
            "telemetry-pipeline",
            "telemetry-provider",
            "sink-sqlite",
        ],
    ),
];

/// Crates that hold tests, benches, examples and chores. They may depend on any crate, and no crate on them.
const OUTSIDE: &[&str] = &["telemetry-tests", "telemetry-benches", "telemetry-examples", "xtask"];

/// Foreign crates that a crate must not depend on, except in tests.
const BANNED: &[(&str, &[&str])] = &[
    ("telemetry-core", &["tokio", "sqlx", "serde-saphyr", "axum", "reqwest", "tracing"]),
    ("telemetry-files", &["tokio", "sqlx", "serde-saphyr", "axum", "reqwest"]),
    ("telemetry-otlp", &["sqlx", "serde-saphyr", "axum", "hyper", "reqwest"]),
    ("telemetry-pipeline", &["sqlx", "serde-saphyr", "axum", "reqwest"]),
    ("telemetry-tower", &["axum", "hyper", "tokio", "tonic", "tower"]),
    ("sink-console", &["tokio", "sqlx", "serde-saphyr"]),
    ("sink-sqlite", &["serde-saphyr", "axum", "reqwest"]),
    ("sink-otel", &["serde-saphyr", "axum", "sqlx"]),
];

/// Words of `std` that open, start or read something outside the program's own memory.
const IMPURE: [&str; 5] = ["std::fs", "std::net", "std::thread", "std::process", "std::env"];

fn dependencies(package: &Package) -> impl Iterator<Item = &str> {
    let normal =
        package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
    normal.map(|dependency| dependency.name.as_str())
}

/// Checks that every crate depends on the crates that it may depend on, and on no other of ours.
pub(super) fn direction() -> Result<Vec<String>> {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec()?;
    let ours: Vec<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in metadata.packages.iter().filter(|package| !OUTSIDE.contains(&package.name.as_str())) {
        let name = package.name.as_str();
        let allowed = ALLOWED.iter().find(|(known, _)| *known == name).map_or(SINK, |(_, allowed)| allowed);
        let banned = BANNED.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, banned)| banned);
        for other in dependencies(package) {
            if ours.contains(&other) && !allowed.contains(&other) {
                findings.push(format!("{name} depends on {other}; it may depend on: {}", allowed.join(", ")));
            }
            if banned.contains(&other) {
                findings.push(format!("{name} depends on {other}, which it must not use"));
            }
        }
    }
    Ok(findings)
}

/// Checks that `telemetry-core` neither starts nor opens anything.
pub(super) fn core_is_pure() -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for (path, text) in super::sources::rust_files("telemetry-core/src")? {
        let file = path.strip_prefix(root()).context("the file lies in the workspace")?.display();
        let found = IMPURE.iter().filter(|word| text.contains(*word));
        findings.extend(found.map(|word| format!("{file} uses {word}")));
    }
    Ok(findings)
}
