//! `telemetry import` and `telemetry doctor` on the command line.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use telemetry_tests::{Client, Settings, build, sqlite3, sqlite3_write};

fn telemetry(arguments: &[&str], database: &Path) -> Command {
    let mut command = Command::new(build().unwrap());
    command.args(arguments).arg("--database").arg(database).env_remove("OTEL_SERVICE_NAME");
    command
}

fn text(output: &Output) -> (Option<i32>, String, String) {
    let read = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), read(&output.stdout), read(&output.stderr))
}

/// Writes a database as the reference does, with one event per span.
fn reference(folder: &Path, spans: u64) -> PathBuf {
    let path = folder.join("reference.db");
    let schema = include_str!("data/reference_schema.sql");
    let sql = format!(
        "{schema} \
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {spans}) \
         INSERT INTO spans SELECT printf('%016x', i), printf('%032x', i / 10 + 1), \
           CASE WHEN i % 10 AND i > 10 THEN printf('%016x', i / 10 * 10) END, 'work', \
           '2026-03-01T12:00:00.000001+00:00', '2026-03-01T12:00:01+00:00', \
           json_object('n', i, '__ttl__', 604800), 'OK', 'INTERNAL' FROM n; \
         INSERT INTO traces (trace_id, service_name) SELECT DISTINCT trace_id, 'old' FROM spans; \
         INSERT INTO span_events (span_id, name, timestamp, attributes) SELECT span_id, 'unstructured_log', \
           start_time, json_object('message', 'm', 'severity', 'info') FROM spans;"
    );
    sqlite3_write(&path, &sql).unwrap();
    path
}

#[test]
fn a_killed_import_continues_and_doubles_nothing() {
    const SPANS: u64 = 30_000;
    let folder = tempfile::tempdir().unwrap();
    let source = reference(folder.path(), SPANS);
    let database = folder.path().join("trace_store.db");
    let import = ["import", source.to_str().unwrap()];
    let count = |table: &str| -> u64 {
        sqlite3(&database, &format!("SELECT count(*) FROM {table}")).unwrap().parse().unwrap()
    };
    let mut interrupted = 0;
    for moment in 1..=5 {
        let mut running = telemetry(&import, &database).stdout(Stdio::null()).spawn().unwrap();
        telemetry_tests::eventually("some rows are in", || {
            let ended = running.try_wait().unwrap().is_some();
            (ended
                || database.exists()
                    && sqlite3(&database, "SELECT 1 FROM spans LIMIT 1").is_ok_and(|row| row == "1"))
            .then_some(())
        })
        .unwrap();
        std::thread::park_timeout(Duration::from_millis(moment * 40));
        interrupted += u64::from(running.try_wait().unwrap().is_none());
        running.kill().unwrap();
        running.wait().unwrap();
    }
    assert!(interrupted > 0, "no import was caught running");
    let (code, stdout, stderr) = text(&telemetry(&import, &database).output().unwrap());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert_eq!((count("spans"), count("span_events")), (SPANS, SPANS));
    let (code, stdout, _) = text(&telemetry(&import, &database).output().unwrap());
    assert_eq!(code, Some(0));
    assert!(stdout.contains(&format!("{} rows were there already", 2 * SPANS)), "{stdout}");
    assert_eq!((count("spans"), count("span_events")), (SPANS, SPANS));
    let (code, stdout, _) = text(&telemetry(&["doctor"], &database).output().unwrap());
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.contains(&format!("{SPANS} spans, {SPANS} logs")), "{stdout}");
}

#[test]
fn rows_that_cannot_be_stored_are_named_and_change_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let source = reference(folder.path(), 20);
    sqlite3_write(&source, "UPDATE spans SET span_id = 'x' WHERE rowid = 7").unwrap();
    let database = folder.path().join("trace_store.db");
    let output = telemetry(&["import", source.to_str().unwrap()], &database).output().unwrap();
    let (code, stdout, stderr) = text(&output);
    assert_eq!(code, Some(3), "{stdout}{stderr}");
    assert!(stdout.contains("19 spans, 20 logs"), "{stdout}");
    assert!(stderr.contains("skipped: spans row 7: span_id: "), "{stderr}");
}

#[test]
fn an_import_beside_a_running_server_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let source = reference(folder.path(), 20);
    let server = Settings::sqlite_in(folder.path()).start().unwrap();
    let database = folder.path().join("trace_store.db");
    let (code, _, stderr) =
        text(&telemetry(&["import", source.to_str().unwrap()], &database).output().unwrap());
    assert_eq!(code, Some(1));
    assert!(stderr.contains(&format!("process {} (telemetry)", server.id())), "{stderr}");
    let (code, stdout, _) = text(&telemetry(&["doctor"], &database).output().unwrap());
    assert_eq!(code, Some(0), "the doctor may read meanwhile: {stdout}");
    assert!(stdout.contains(&format!("in use:    process {}", server.id())), "{stdout}");
    let mut client = Client::connect(server.url()).unwrap();
    assert_eq!(client.get("/v1/health").unwrap().status, 200, "the server keeps running");
}

#[test]
fn the_doctor_reports_missing_and_damaged_files() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("trace_store.db");
    let doctor = || text(&telemetry(&["doctor"], &database).output().unwrap());
    let (code, _, stderr) = doctor();
    assert_eq!(code, Some(1));
    assert!(stderr.contains("there is no database at"), "{stderr}");
    let source = reference(folder.path(), 5_000);
    let import = telemetry(&["import", source.to_str().unwrap()], &database).output().unwrap();
    assert!(import.status.success());
    // Overwrites a page in the middle, as a failing disk would.
    let mut bytes = std::fs::read(&database).unwrap();
    let middle = bytes.len() / 2 / 4_096 * 4_096;
    bytes[middle..middle + 4_096].fill(0x5a);
    std::fs::write(&database, &bytes).unwrap();
    let (code, stdout, stderr) = doctor();
    assert_eq!(code, Some(4), "{stdout}{stderr}");
    assert!(stdout.contains("damaged:   "), "{stdout}");
    std::fs::write(&database, vec![0x5a; 8_192]).unwrap();
    let (code, _, stderr) = doctor();
    assert_eq!(code, Some(1));
    assert!(stderr.contains("trace_store.db") && stderr.contains(".recover"), "{stderr}");
}
