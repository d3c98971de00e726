//! `kill -9` at random moments under load: everything acknowledged is there afterwards.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use telemetry_tests::{Client, Server, Settings, eventually, sqlite3};

/// Rounds in an ordinary run; `TELEMETRY_KILL_ROUNDS` asks for more.
const ROUNDS: u64 = 20;
const WRITERS: u64 = 4;

/// What a writer was told is stored: spans by id, and whether their end was acknowledged too.
type Acknowledged = Arc<Mutex<BTreeMap<String, bool>>>;

fn event(trace: &str, span: &str, payload: &Value) -> Value {
    json!({"event": {"type": "structured_log", "trace_id": trace, "span_id": span,
                     "timestamp": "2026-03-01T12:00:00.5Z", "attributes": {"writer": span}, "payload": payload}})
}

fn accepted(client: &mut Client, body: &Value) -> bool {
    client.post("/v1/telemetry/events", body).is_ok_and(|answer| answer.status == 200)
}

/// Logs spans until the connection breaks.
fn write(url: &str, writer: u64, round: u64, acknowledged: &Acknowledged, done: &AtomicBool) {
    let Ok(mut client) = Client::connect(url) else { return };
    for number in 0.. {
        let span = format!("{:016x}", (round << 40) + (writer << 32) + number + 1);
        let trace = format!("{span}{span}");
        let start = event(&trace, &span, &json!({"type": "span_start", "name": "work"}));
        let end = event(&trace, &span, &json!({"type": "span_end", "status": "ok"}));
        // Every third span ends before it starts: an end that waits must survive as well.
        let (first, second) = if number % 3 == 2 { (&end, &start) } else { (&start, &end) };
        let first_is_start = number % 3 != 2;
        if !accepted(&mut client, first) {
            break;
        }
        if first_is_start {
            acknowledged.lock().unwrap().insert(span.clone(), false);
        }
        if !accepted(&mut client, second) {
            break;
        }
        acknowledged.lock().unwrap().insert(span, true);
        if done.load(Ordering::Relaxed) {
            break;
        }
    }
}

fn all_there(server: &Server, acknowledged: &BTreeMap<String, bool>) {
    let mut client = Client::connect(server.url()).unwrap();
    for (span, ended) in acknowledged {
        let answer = client.get(&format!("/v1/telemetry/traces/{span}{span}/spans/{span}")).unwrap();
        assert_eq!(answer.status, 200, "span {span} was acknowledged: {}", answer.text());
        let found = answer.json();
        assert_eq!(found["end_time"].is_string(), *ended || found["end_time"].is_string(), "{found}");
        assert!(!ended || found["status"] == "ok", "the end of {span} was acknowledged: {found}");
        assert!(found["end_time"].is_string() || found["unfinished"] == true, "{found}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let rounds =
        std::env::var("TELEMETRY_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::sqlite_in(folder.path());
    let database = folder.path().join("trace_store.db");
    let mut total = 0;
    for round in 1..=rounds {
        let server = settings.start().unwrap();
        let acknowledged = Acknowledged::default();
        let done = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (url, acknowledged, done) =
                    (server.url().to_owned(), Arc::clone(&acknowledged), Arc::clone(&done));
                std::thread::spawn(move || write(&url, writer, round, &acknowledged, &done))
            })
            .collect();
        // A different moment each round: after some number of spans, then some microseconds.
        let enough = usize::try_from(round * 37 % 400).unwrap() + 1;
        eventually("spans are acknowledged", || (acknowledged.lock().unwrap().len() >= enough).then_some(()))
            .unwrap();
        std::thread::park_timeout(Duration::from_micros(round * 997 % 5_000));
        server.kill().unwrap();
        done.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap();
        }
        let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
        total += acknowledged.len();
        let server = settings.start().unwrap();
        all_there(&server, &acknowledged);
        assert!(server.stop().unwrap().status.success());
        assert_eq!(sqlite3(&database, "pragma integrity_check").unwrap(), "ok");
        let orphans = "select count(*) from spans where trace_id not in (select trace_id from traces)";
        assert_eq!(sqlite3(&database, orphans).unwrap(), "0");
    }
    println!("{rounds} rounds, {total} acknowledged spans, none lost");
}
