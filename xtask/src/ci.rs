//! The steps that CI runs, in order, and a summary of them.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::command::{self, cargo};
use crate::{api, features, linkage, tidy};

/// A step of CI: its name and what it does.
type Step<'a> = (&'a str, &'a dyn Fn() -> Result<()>);

/// Runs all steps. After a failure the other steps still run.
pub(crate) fn run(full: bool) -> Result<()> {
    let linkage = || linkage::run(full);
    let integration = || integration(None, full);
    let steps: [Step<'_>; 8] = [
        ("tidy", &tidy::run),
        ("lint", &lint),
        ("test", &test),
        ("examples", &examples),
        ("api", &|| api::run(false)),
        ("features", &features::run),
        ("linkage", &linkage),
        ("integration", &integration),
    ];
    let mut report: Vec<(&str, Duration, Result<()>)> = Vec::new();
    for (name, step) in steps {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let outcome = step();
        if let Err(error) = &outcome {
            eprintln!("== {name} failed: {error:#}");
        }
        report.push((name, started.elapsed(), outcome));
    }
    println!("\nstep         seconds  outcome");
    for (name, took, outcome) in &report {
        println!("{name:<12} {:>7.0}  {}", took.as_secs_f64(), if outcome.is_ok() { "ok" } else { "FAILED" });
    }
    let failed = report.iter().filter(|(_, _, outcome)| outcome.is_err()).count();
    println!("{} passed, {failed} failed", report.len() - failed);
    if failed == 0 { Ok(()) } else { bail!("{failed} of {} steps failed", report.len()) }
}

/// Runs all tests, documentation tests included.
pub(crate) fn test() -> Result<()> {
    command::run(&mut cargo(&["test", "--workspace", "--quiet"]))
}

/// Checks formatting, clippy and rustdoc, and fails on any warning.
pub(crate) fn lint() -> Result<()> {
    command::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    command::run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    command::run(cargo(&["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Runs the examples to their ends and checks what they leave behind: `tests/tests/examples.rs`.
pub(crate) fn examples() -> Result<()> {
    command::run(&mut cargo(&["test", "--quiet", "--package", "telemetry-tests", "--test", "examples"]))
}

/// Drives a running server with real clients and peers: `tests/src/bin/integration`.
pub(crate) fn integration(only: Option<&str>, full: bool) -> Result<()> {
    let mut drivers =
        cargo(&["run", "--quiet", "--package", "telemetry-tests", "--bin", "integration", "--"]);
    if let Some(part) = only {
        drivers.args(["--only", part]);
    }
    if full {
        drivers.arg("--full");
    }
    command::run(&mut drivers)
}
