//! The program runs with its own configuration and all three sinks.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn run(configuration: Option<&str>, folder: &std::path::Path) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_program"));
    program.args(configuration).env("EXAMPLE_DIR", folder).env_remove("TELEMETRY_SINKS").output().unwrap()
}

#[test]
fn every_sink_records_the_request() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(None, folder.path());
    let (shown, console) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{console}");
    // Two starts, two ends, two logs and one metric. `ndjson` takes no starts.
    assert_eq!(
        shown,
        "console: 7 delivered of 7 accepted\nsqlite: 7 delivered of 7 accepted\nndjson: 5 delivered of 5 accepted\n"
    );
    assert!(console.contains("[WARN] the cache is cold"), "{console}");
    assert!(folder.path().join("traces.db").exists());
    let lines = std::fs::read_to_string(folder.path().join("telemetry.ndjson")).unwrap();
    assert_eq!(lines.lines().count(), 5);
}

#[test]
fn an_unknown_key_of_the_sink_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.yaml");
    let text = include_str!("../run.yaml").replace("max_files: 3", "max_fils: 3");
    std::fs::write(&path, text).unwrap();
    let output = run(path.to_str(), folder.path());
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("unknown key `max_fils`; did you mean `max_files`?"), "{error}");
}
