//! The spool of the real program: a collector that hangs at shutdown, a full disk.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use telemetry_tests::{Behaviour, Client, Collector, Settings, SmallDisk, eventually};

const SPANS: u64 = 200;

/// Returns settings for a server that has no store and sends spans to `endpoint`.
fn serving(folder: &Path, endpoint: &str) -> Settings {
    let config = folder.join("telemetry.yaml");
    let text = format!(
        "telemetry:\n- provider_id: meta-reference\n  provider_type: inline::meta-reference\n  config:\n    sinks: [otel_trace]\n    \
         otel_exporter_otlp_endpoint: {endpoint}\n    otel_trace: {{spool_path: {}, batch_age: 10ms, batch_size: 100, queue_bytes: 1MiB}}\n",
        folder.join("spool").display()
    );
    std::fs::write(&config, text).unwrap();
    Settings::default().arguments(&["--config".as_ref(), config.as_os_str()])
}

fn ledger_of_traces(client: &mut Client) -> Value {
    client.get("/v1/telemetry/ledger").unwrap().json()["sinks"][0].clone()
}

/// Logs spans with `bytes` of text each, and checks that all are accepted.
fn log_spans(client: &mut Client, numbers: Range<u64>, bytes: usize) {
    let expected = 2 * (numbers.end - numbers.start);
    let spans = numbers.flat_map(|number| {
        let event = |attributes: Value, payload: Value| {
            json!({"event": {"type": "structured_log", "trace_id": format!("{number:032x}"),
                "span_id": format!("{number:016x}"), "timestamp": "2026-03-01T12:00:00Z",
                "attributes": attributes, "payload": payload}})
        };
        [
            event(json!({"text": "x".repeat(bytes)}), json!({"type": "span_start", "name": "chat"})),
            event(Value::Null, json!({"type": "span_end", "status": "ok"})),
        ]
    });
    let events = json!({"events": spans.collect::<Vec<_>>()});
    let answer = client.post("/v1/telemetry/events", &events).unwrap();
    assert_eq!(answer.json()["accepted"], expected, "{}", answer.text());
}

#[test]
fn sigterm_while_the_collector_hangs_ends_in_time_and_the_next_start_delivers() {
    let folder = tempfile::tempdir().unwrap();
    let hanging = Collector::start(Behaviour::Silent).unwrap();
    let server = serving(folder.path(), hanging.url()).start().unwrap();
    let mut client = Client::connect(server.url()).unwrap();
    log_spans(&mut client, 1..SPANS + 1, 10);
    hanging.wait_for_requests(1).unwrap();
    let started = Instant::now();
    let ended = server.stop().unwrap();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(!ended.stderr.contains("signals were lost"), "{}", ended.stderr);

    let quick = Collector::start(Behaviour::Slow(Duration::ZERO)).unwrap();
    let server = serving(folder.path(), quick.url()).start().unwrap();
    let mut client = Client::connect(server.url()).unwrap();
    eventually("the next start delivers", || {
        let ledger = ledger_of_traces(&mut client);
        (ledger["delivered"] == SPANS && ledger["pending"] == 0).then_some(())
    })
    .unwrap();
    assert_eq!(ledger_of_traces(&mut client)["failed"], 0);
}

#[test]
fn a_second_server_on_the_same_spool_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(Behaviour::Slow(Duration::ZERO)).unwrap();
    let first = serving(folder.path(), collector.url()).start().unwrap();
    let refused =
        serving(folder.path(), collector.url()).arguments(&["--listen", "127.0.0.1:0"]).refused().unwrap();
    assert!(!refused.status.success());
    let owner = format!("is in use (process {})", first.id());
    assert!(refused.stderr.contains(&owner), "{}", refused.stderr);
}

/// Runs a workload and returns the last ledger it prints.
fn workload(script: &str, arguments: &[String]) -> Value {
    let program = env!("CARGO_BIN_EXE_otel_workload");
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", program]).args(arguments).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    last["ledger"]["sinks"][0].clone()
}

#[test]
fn a_full_disk_is_reported_and_everything_spooled_is_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let common = [
        format!("spool={}", folder.path().display()),
        "quiet=true".to_owned(),
        "sink.batch_size=100".to_owned(),
        "sink.queue_bytes=4MiB".to_owned(),
    ];
    // Files of at most 256 KiB. At the limit the system writes a part of a record, then refuses.
    let limited = "trap '' XFSZ; ulimit -f 512; exec \"$@\"";
    let outage = ["traces=4000", "pace=false", "flush=1", "shutdown=3", "endpoint=http://127.0.0.1:9"];
    let ledger = workload(limited, &[&common[..], &outage.map(str::to_owned)].concat());
    let count = |ledger: &Value, what: &str| ledger[what].as_u64().unwrap();
    assert!(ledger["reasons"]["spool failed"].as_u64() > Some(0), "{ledger}");
    let spooled = count(&ledger, "spooled");
    assert!(spooled > 100, "{ledger}");
    assert_eq!(count(&ledger, "accepted"), spooled + count(&ledger, "dropped"), "{ledger}");

    let collector = Collector::start(Behaviour::Slow(Duration::ZERO)).unwrap();
    let recovery = [format!("endpoint={}", collector.url()), "traces=0".to_owned()];
    let ledger = workload("exec \"$@\"", &[&common[..], &recovery].concat());
    assert_eq!((count(&ledger, "delivered"), count(&ledger, "failed")), (spooled, 0), "{ledger}");
}

#[test]
fn a_disk_that_was_full_drops_only_what_arrived_meanwhile() {
    const BATCH: u64 = 20;
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::at(folder.path()).unwrap();
    // The port was free a moment ago, and no other test uses it.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let program = SmallDisk::program(folder.path()).unwrap();
    let server = serving(folder.path(), &format!("http://{address}")).program(program).start().unwrap();
    let mut client = Client::connect(server.url()).unwrap();
    let mut logged = 0;
    // Logs more only after everything logged is counted.
    let mut log_until = |what: &str, holds: &dyn Fn(&Value) -> bool| {
        let ledger = eventually(what, || {
            let ledger = ledger_of_traces(&mut client);
            if ledger["accepted"] == logged {
                if holds(&ledger) {
                    return Some(ledger);
                }
                log_spans(&mut client, logged + 1..logged + 1 + BATCH, 10_000);
                logged += BATCH;
            }
            None
        });
        ledger.unwrap()
    };
    let count = |ledger: &Value, what: &str| ledger[what].as_u64().unwrap();
    let spooled = log_until("the queue reaches the disk", &|ledger| count(ledger, "spooled") > 20);
    assert_eq!(count(&spooled, "dropped"), 0, "{spooled}");

    disk.fill(&server).unwrap();
    let full = log_until("the disk is full", &|ledger| count(ledger, "dropped") > 20);
    assert_eq!(full["reasons"]["spool failed"], full["dropped"], "{full}");
    assert!(server.printed().iter().any(|line| line.contains("spool failed")), "{:?}", server.printed());

    disk.empty(&server).unwrap();
    let on_disk = count(&full, "spooled");
    let again = log_until("the spool takes signals again", &|ledger| count(ledger, "spooled") > on_disk + 20);
    let is_reported = || server.printed().iter().any(|line| line.contains("the spool takes signals again"));
    eventually("the end of the failure is reported", || is_reported().then_some(())).unwrap();

    let _collector = Collector::start_at(&address, Behaviour::Slow(Duration::ZERO)).unwrap();
    let ledger = eventually("the rest is delivered", || {
        let ledger = ledger_of_traces(&mut client);
        (count(&ledger, "pending") == 0).then_some(ledger)
    });
    let ledger = ledger.unwrap();
    assert_eq!(ledger["dropped"], again["dropped"], "nothing is dropped once there is room");
    assert_eq!(count(&ledger, "delivered") + count(&ledger, "dropped"), logged, "{ledger}");
    assert!(server.stop().unwrap().status.success());
}
