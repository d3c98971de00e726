//! `kill -9` at varying moments under load: everything acknowledged is stored.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use telemetry_tests::{Client, Server, Settings, eventually, sqlite3};

/// Rounds in an ordinary run. `cargo xtask integration --only sqlite` runs 20, with `--full` 200.
const ROUNDS: u64 = 5;
const WRITERS: u64 = 4;

/// Spans by id, and how much of each was acknowledged.
type Acknowledged = Arc<Mutex<BTreeMap<String, Stored>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stored {
    Start,
    End,
    /// Also its log and its metric point.
    Events,
}

fn event(trace: &str, span: &str, payload: &Value) -> Value {
    json!({"event": {"type": "structured_log", "trace_id": trace, "span_id": span,
                     "timestamp": "2026-03-01T12:00:00.5Z", "attributes": {"writer": span}, "payload": payload}})
}

/// Returns a log and a metric point that arrive after the end of their span.
fn log_and_metric(trace: &str, span: &str) -> Value {
    let common = json!({"trace_id": trace, "span_id": span, "timestamp": "2026-03-01T12:00:00.7Z"});
    let with = |own: Value| {
        let mut event = common.clone();
        event.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        json!({ "event": event })
    };
    json!({"events": [
        with(json!({"type": "unstructured_log", "severity": "info", "message": span})),
        with(json!({"type": "metric", "metric": "killed", "value": 1, "unit": "1", "attributes": {"span": span}})),
    ]})
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
        // The end of every third span arrives before its start. It must survive as well.
        let (first, second) = if number % 3 == 2 { (&end, &start) } else { (&start, &end) };
        let first_is_start = number % 3 != 2;
        if !accepted(&mut client, first) {
            break;
        }
        if first_is_start {
            acknowledged.lock().unwrap().insert(span.clone(), Stored::Start);
        }
        if !accepted(&mut client, second) {
            break;
        }
        acknowledged.lock().unwrap().insert(span.clone(), Stored::End);
        if !accepted(&mut client, &log_and_metric(&trace, &span)) {
            break;
        }
        acknowledged.lock().unwrap().insert(span, Stored::Events);
        if done.load(Ordering::Relaxed) {
            break;
        }
    }
}

/// Queries that return the number of inconsistent rows in the views.
const INCONSISTENT: [&str; 4] = [
    "SELECT count(*) FROM spans WHERE trace_id NOT IN (SELECT trace_id FROM traces)",
    "SELECT count(*) FROM traces WHERE trace_id NOT IN (SELECT trace_id FROM spans)",
    "SELECT count(*) FROM (SELECT trace_id, min(start_time) AS first, max(end_time) AS last FROM spans \
     GROUP BY trace_id) s JOIN traces t USING (trace_id) \
     WHERE t.start_time <> s.first OR t.end_time IS NOT s.last",
    "SELECT count(*) FROM (SELECT 1 FROM logs GROUP BY message HAVING count(*) > 1)",
];

/// Checks that everything acknowledged is found.
fn all_there(server: &Server, acknowledged: &BTreeMap<String, Stored>) {
    let mut client = Client::connect(server.url()).unwrap();
    for (span, stored) in acknowledged {
        let ended = *stored >= Stored::End;
        let answer = client.get(&format!("/v1/telemetry/traces/{span}{span}/spans/{span}")).unwrap();
        assert_eq!(answer.status, 200, "span {span} was acknowledged: {}", answer.text());
        let found = answer.json();
        let events = found["events"].as_array().map_or(0, Vec::len);
        assert!(*stored < Stored::Events || events == 2, "the events of {span} were acknowledged: {found}");
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
        // A different moment each round: after some spans and some microseconds.
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
        for broken in INCONSISTENT {
            assert_eq!(sqlite3(&database, broken).unwrap(), "0", "{broken}");
        }
    }
    println!("{rounds} rounds, {total} acknowledged spans, none lost");
}
