//! The store under real faults: rounds of `kill -9` under load, a disk that fills, another program that reads,
//! a file that goes away; and an import that is killed.

use anyhow::Result;

use crate::command::{self, cargo};

/// Rounds of `kill -9`, and with `full`.
const ROUNDS: [u32; 2] = [20, 200];

pub(crate) fn run(full: bool) -> Result<()> {
    let rounds = ROUNDS[usize::from(full)];
    for test in ["kill", "faults", "import"] {
        let mut tests =
            cargo(&["test", "--quiet", "--package", "telemetry-tests", "--test", test, "--", "--nocapture"]);
        command::run(tests.env("TELEMETRY_KILL_ROUNDS", rounds.to_string()))?;
    }
    Ok(())
}
