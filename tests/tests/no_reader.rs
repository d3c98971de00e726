//! Output that nobody reads, or that can't be written, ends no thread and no command in a panic.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::process::{Command, Stdio};

use serde_json::json;
use telemetry_tests::{Client, build, eventually};

/// Runs a shell line in which `$T` is the program. Returns its exit code and what it printed on stderr.
fn shell(line: &str) -> (Option<i32>, String) {
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", line])
        .env("T", build().unwrap())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_command_whose_reader_leaves_ends_quietly() {
    assert_eq!(shell("$T sinks | head -1 > /dev/null"), (Some(0), String::new()));
}

#[test]
fn a_command_that_cannot_print_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("telemetry.yaml");
    std::fs::write(&file, "telemetry: []\n").unwrap();
    for command in ["sinks".to_owned(), format!("check {}", file.display())] {
        let (code, printed) = shell(&format!("$T {command} > /dev/full"));
        assert_eq!(code, Some(1), "{command}: {printed}");
        assert!(printed.starts_with("error: can't write to stdout"), "{command}: {printed}");
    }
}

/// Starts a server whose stderr is `stderr`, logs every request, and stops it.
fn serves_with(stderr: Stdio) {
    let folder = tempfile::tempdir().unwrap();
    // The port is not announced to anyone, so it is chosen here.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let config = folder.path().join("telemetry.yaml");
    std::fs::write(&config, "server: {log_level: trace}\n").unwrap();
    let mut server = Command::new(build().unwrap())
        .args(["serve", "--listen", &address, "--config"])
        .arg(&config)
        .env("SQLITE_STORE_DIR", folder.path())
        .env("TELEMETRY_SINKS", "console,sqlite")
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut client =
        eventually("the server listens", || Client::connect(&format!("http://{address}")).ok()).unwrap();
    for _ in 0..200 {
        let event = json!({"event": {"type": "unstructured_log", "timestamp": 1_703_123_456, "message": "m",
            "severity": "info"}});
        let answer = client.post("/v1/telemetry/events", &event).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(client.get("/v1/health").unwrap().status, 200);
    assert!(
        client.get("/metrics").unwrap().text().contains("telemetry_log_lines_lost_total{stream=\"stderr\"}")
    );
    let ledger = client.get("/v1/telemetry/ledger").unwrap().json();
    let sqlite = ledger["sinks"].as_array().unwrap().iter().find(|sink| sink["name"] == "sqlite").unwrap();
    assert_eq!((&sqlite["state"], &sqlite["delivered"]), (&json!("running"), &json!(200)));
    assert!(Command::new("kill").arg(server.id().to_string()).status().unwrap().success());
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn a_server_whose_log_has_no_reader_goes_on() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    serves_with(writer.into());
}

#[test]
fn a_server_whose_log_is_on_a_full_disk_goes_on() {
    serves_with(File::options().write(true).open("/dev/full").unwrap().into());
}
