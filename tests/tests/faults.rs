//! Faults of the database file while the server runs: a full disk, another program that reads for a long time,
//! a deleted file.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use telemetry_tests::{Answer, Client, Settings, SmallDisk, eventually, sqlite3};

/// Returns settings for the sqlite sink alone, which acknowledges within a second or refuses.
fn settings(folder: &Path) -> Settings {
    let file = folder.join("telemetry.yaml");
    let database = folder.join("trace_store.db");
    let yaml = format!(
        "telemetry:\n- provider_id: meta-reference\n  provider_type: inline::meta-reference\n  config:\n    \
         sinks: [sqlite]\n    sqlite_db_path: {}\nserver:\n  ack_timeout: 1s\n",
        database.display()
    );
    fs::write(&file, yaml).unwrap();
    Settings::default().arguments(&["--config", file.to_str().unwrap()])
}

/// Returns a request with logs of `bytes` of text each.
fn logs(first: u64, count: u64, bytes: usize) -> Value {
    let event = |number: u64| {
        json!({"event": {"type": "unstructured_log", "trace_id": format!("{:032x}", number + 1), "span_id": "",
               "timestamp": "2026-03-01T12:00:00Z", "severity": "info", "message": format!("log-{number}"),
               "attributes": {"text": "x".repeat(bytes)}}})
    };
    json!({"events": (first..first + count).map(event).collect::<Vec<_>>()})
}

fn post(client: &mut Client, first: u64, count: u64, bytes: usize) -> Answer {
    client.post("/v1/telemetry/events", &logs(first, count, bytes)).unwrap()
}

fn health(client: &mut Client) -> u16 {
    client.get("/v1/health").unwrap().status
}

/// Returns how often each log of these numbers is stored.
fn stored(database: &Path, numbers: std::ops::Range<u64>) -> Vec<u64> {
    let messages = sqlite3(database, "SELECT message FROM logs").unwrap();
    let mut times = std::collections::HashMap::<&str, u64>::new();
    messages.lines().for_each(|message| *times.entry(message).or_default() += 1);
    numbers.map(|number| times.get(format!("log-{number}").as_str()).copied().unwrap_or(0)).collect()
}

#[test]
fn a_full_disk_is_reported_and_survived_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::at(folder.path()).unwrap();
    let database = folder.path().join("trace_store.db");
    let server = settings(folder.path()).program(SmallDisk::program(folder.path()).unwrap()).start().unwrap();
    let mut client = Client::connect(server.url()).unwrap();
    assert_eq!(post(&mut client, 0, 20, 1_000).status, 200);
    disk.fill(&server).unwrap();
    let mut next = 20;
    let refused = loop {
        assert!(next < 10_000, "the disk never fills");
        let answer = post(&mut client, next, 20, 10_000);
        next += 20;
        if answer.status != 200 {
            break answer;
        }
    };
    let acknowledged = 0..next - 20;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
    assert_eq!(health(&mut client), 503);
    let ledger = client.get("/v1/telemetry/ledger").unwrap().json();
    assert!(ledger["sinks"][0]["retries"].as_u64() > Some(0), "{ledger}");
    let found = client.post("/v1/telemetry/logs", &json!({"limit": 1})).unwrap();
    assert_eq!(found.status, 200, "stored logs can be queried meanwhile: {}", found.text());
    disk.empty(&server).unwrap();
    eventually("the server stores again", || {
        (post(&mut client, next, 20, 1_000).status == 200).then_some(())
    })
    .unwrap();
    assert_eq!(health(&mut client), 200);
    assert!(
        stored(&database, acknowledged).iter().all(|times| *times == 1),
        "everything acknowledged is stored once"
    );
    assert!(server.stop().unwrap().status.success());
    assert_eq!(sqlite3(&database, "PRAGMA integrity_check").unwrap(), "ok");
}

/// Starts the `sqlite3` program and leaves it in the middle of a read transaction.
fn long_reader(database: &Path) -> Child {
    use std::io::{BufRead as _, BufReader, Write as _};
    let mut reader = Command::new("sqlite3")
        .arg("-readonly")
        .arg(database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sqlite3 is installed");
    let stdin = reader.stdin.as_mut().unwrap();
    stdin.write_all(b"BEGIN; SELECT count(*) FROM logs;\n").unwrap();
    stdin.flush().unwrap();
    let mut line = String::new();
    BufReader::new(reader.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.is_empty(), "the reader has begun");
    reader
}

#[test]
fn a_long_reader_delays_no_write_and_is_reported() {
    const BATCH: u64 = 100;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("trace_store.db");
    let log = || fs::metadata(folder.path().join("trace_store.db-wal")).map_or(0, |file| file.len());
    let server = settings(folder.path()).start().unwrap();
    let mut client = Client::connect(server.url()).unwrap();
    assert_eq!(post(&mut client, 0, BATCH, 10).status, 200);
    let mut reader = long_reader(&database);
    let (mut next, mut slowest) = (BATCH, Duration::ZERO);
    let is_reported = || server.printed().iter().any(|line| line.contains("the write-ahead log grows"));
    while !is_reported() {
        assert!(log() < 300 << 20, "the growing write-ahead log was not reported");
        let started = Instant::now();
        assert_eq!(post(&mut client, next, BATCH, 10_000).status, 200);
        slowest = slowest.max(started.elapsed());
        next += BATCH;
    }
    assert!(slowest < Duration::from_secs(3), "a write took {slowest:?} beside a reader");
    assert!(log() >= 64 << 20);
    reader.kill().unwrap();
    reader.wait().unwrap();
    eventually("the write-ahead log is emptied", || (log() == 0).then_some(())).unwrap();
    assert!(stored(&database, 0..next).iter().all(|times| *times == 1));
}

#[test]
fn another_program_reads_while_the_server_writes_at_full_speed() {
    const LOGS: u64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("trace_store.db");
    let server = settings(folder.path()).start().unwrap();
    let acknowledged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = Client::connect(server.url()).unwrap();
            for first in (0..LOGS).step_by(100) {
                assert_eq!(post(&mut client, first, 100, 100).status, 200);
                acknowledged.store(first + 100, Ordering::Release);
            }
        });
        let mut before = 0;
        while !writer.is_finished() {
            let written = acknowledged.load(Ordering::Acquire);
            let seen: u64 = sqlite3(&database, "SELECT count(*) FROM logs").unwrap().parse().unwrap();
            assert!(seen >= written && seen >= before, "{seen} seen of {written}, {before} before");
            before = seen;
        }
    });
    assert_eq!(acknowledged.into_inner(), LOGS);
}

#[test]
fn a_deleted_file_is_created_again_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("trace_store.db");
    let server = settings(folder.path()).start().unwrap();
    let mut client = Client::connect(server.url()).unwrap();
    assert_eq!(post(&mut client, 0, 10, 10).status, 200);
    for name in ["trace_store.db", "trace_store.db-wal", "trace_store.db-shm"] {
        // The last two may not exist.
        let _ = fs::remove_file(folder.path().join(name));
    }
    eventually("the server stores again", || (post(&mut client, 10, 10, 10).status == 200).then_some(()))
        .unwrap();
    assert!(stored(&database, 10..20).iter().all(|times| *times >= 1), "in the new file");
    let found = client.post("/v1/telemetry/logs", &json!({"contains": "log-15"})).unwrap().json();
    assert_eq!(found["data"].as_array().map(Vec::len), Some(1), "{found}");
    assert!(
        server.printed().iter().any(|line| line.contains("deleted or replaced")),
        "{:?}",
        server.printed()
    );
}

#[test]
fn a_file_that_becomes_read_only_loses_nothing_acknowledged() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("trace_store.db");
    let server = settings(folder.path()).start().unwrap();
    let mut client = Client::connect(server.url()).unwrap();
    assert_eq!(post(&mut client, 0, 10, 10).status, 200);
    let allow = |mode| fs::set_permissions(&database, fs::Permissions::from_mode(mode)).unwrap();
    allow(0o444);
    let answer = post(&mut client, 10, 10, 10);
    assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
    let kept = if answer.status == 200 { 20 } else { 10 };
    allow(0o644);
    eventually("the server stores", || (post(&mut client, 20, 10, 10).status == 200).then_some(())).unwrap();
    assert!(stored(&database, 0..kept).iter().all(|times| *times == 1));
    assert_eq!(health(&mut client), 200);
}
