//! The store under real faults: rounds of `kill -9` under load, a disk that fills, another program that reads,
//! a file that goes away; an import that is killed; and the reference's own query code on our file.

use std::process::Command;

use anyhow::{Result, ensure};
use telemetry_tests::{Settings, build, target_dir};

use crate::command::{self, cargo, root};
use crate::python;

/// Rounds of `kill -9`, and with `full`.
const ROUNDS: [u32; 2] = [20, 200];
/// What the reference's query code needs.
const PACKAGES: [&str; 3] = ["aiosqlite", "pydantic", "jsonschema"];
const REFERENCE: &str = "llama-stack==0.2.20";

pub(crate) fn run(full: bool) -> Result<()> {
    let rounds = ROUNDS[usize::from(full)];
    for test in ["kill", "faults", "import", "streaming", "migration"] {
        let mut tests =
            cargo(&["test", "--quiet", "--package", "telemetry-tests", "--test", test, "--", "--nocapture"]);
        command::run(tests.env("TELEMETRY_KILL_ROUNDS", rounds.to_string()))?;
    }
    reference()
}

/// A file that the reference wrote is imported: its query code on our views, and our API, answer as it did.
fn reference() -> Result<()> {
    let python = python::environment("reference", &PACKAGES)?;
    // Its dependencies are a whole distribution, of which queries need nothing.
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", REFERENCE];
    command::run(Command::new(&python).args(pip))?;
    let folder = target_dir().join("integration/reference-store");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let theirs = root().join("sink-sqlite/tests/data/reference_trace_store.db");
    let ours = folder.join("trace_store.db");
    command::run(Command::new(build()?).arg("import").arg(&theirs).arg("--database").arg(&ours))?;
    let server = Settings::sqlite_in(&folder).start()?;
    let script = root().join("tests/client/reference.py");
    command::run(Command::new(python).arg(script).arg(theirs).arg(ours).arg(server.url()))?;
    let ended = server.stop()?;
    ensure!(ended.status.success(), "the server ended with {}:\n{}", ended.status, ended.stderr);
    Ok(())
}
