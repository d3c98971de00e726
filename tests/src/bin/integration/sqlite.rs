//! The store under real faults, and the reference's own query code on a file that was imported.

use std::process::Command;

use anyhow::Result;
use telemetry_tests::{self as tests, Settings, build, cargo, empty_folder, python_environment, root};

/// Rounds of `kill -9`, without and with `--full`.
const ROUNDS: [u32; 2] = [20, 200];
/// What the reference's query code needs.
const PACKAGES: [&str; 3] = ["aiosqlite", "pydantic", "jsonschema"];
const REFERENCE: &str = "llama-stack==0.2.20";

pub(super) fn run(full: bool) -> Result<()> {
    let rounds = ROUNDS[usize::from(full)];
    for test in ["kill", "faults", "import", "streaming", "migration"] {
        let mut command =
            cargo(&["test", "--quiet", "--package", "telemetry-tests", "--test", test, "--", "--nocapture"]);
        tests::run(command.env("TELEMETRY_KILL_ROUNDS", rounds.to_string()))?;
    }
    reference()
}

/// Imports a file that the reference wrote, and checks that its query code on our views and our API answer alike.
fn reference() -> Result<()> {
    let python = python_environment("reference", &PACKAGES)?;
    // Its query code needs none of the distribution's dependencies.
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", REFERENCE];
    tests::run(Command::new(&python).args(pip))?;
    let folder = empty_folder("reference-store")?;
    let theirs = root().join("sink-sqlite/tests/data/reference_trace_store.db");
    let ours = folder.join("trace_store.db");
    tests::run(Command::new(build()?).arg("import").arg(&theirs).arg("--database").arg(&ours))?;
    let server = Settings::sqlite_in(&folder).start()?;
    let script = root().join("tests/client/reference.py");
    tests::run(Command::new(python).arg(script).arg(theirs).arg(ours).arg(server.url()))?;
    server.stop_cleanly()
}
