//! What CI runs, in order, with the time each step took.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::command::{self, cargo};
use crate::{api, examples, features, integration, linkage, tidy};

/// A step of CI: its name and what it does.
type Step<'a> = (&'a str, &'a dyn Fn() -> Result<()>);

pub(crate) fn run(full: bool) -> Result<()> {
    let everything_real = || integration::run(None, full);
    let linked = || linkage::run(full);
    let steps: [Step<'_>; 8] = [
        ("tidy", &tidy::run),
        ("lint", &lint),
        ("test", &test),
        ("examples", &examples::run),
        ("api", &|| api::run(false)),
        ("features", &features::run),
        ("linkage", &linked),
        ("integration", &everything_real),
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

/// All tests. Cargo itself fails where a test fails; documentation tests are part of the run.
pub(crate) fn test() -> Result<()> {
    command::run(&mut cargo(&["test", "--workspace", "--quiet"]))
}

/// Formatting, clippy and rustdoc, all without warnings.
pub(crate) fn lint() -> Result<()> {
    command::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    command::run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    command::run(cargo(&["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))
}
