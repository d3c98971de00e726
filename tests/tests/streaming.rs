//! Long answers are written page by page. Memory does not grow with their length, and a client that reads slowly or
//! disconnects delays no other.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use serde_json::json;
use telemetry_tests::{Client, Server, Settings, build, eventually, sqlite3_write};

/// Spans in the store.
const SPANS: u64 = 20_000;
/// Queries that run at the same time: the option `readers`. Each has a connection with a page cache.
const READERS: usize = 4;
/// Bytes by which memory may grow once those caches are full: less than the length of an answer.
const GROWTH: u64 = 12 << 20;
/// Bytes of memory that an unread answer may use, as docs/in-production.md says.
const PER_ANSWER: u64 = 1 << 20;
/// Clients that send a query and read nothing. Their answers have 670 MB in total.
const IDLE: u64 = 16;
/// The most bytes of memory the server may ever use.
const LIMIT: u64 = 200 << 20;

/// Fills a database with many spans by an import, which is the fastest way.
fn filled(folder: &Path) {
    let source = folder.join("reference.db");
    let schema = include_str!("data/reference_schema.sql");
    let sql = format!(
        "{schema} WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {SPANS}) \
         INSERT INTO spans SELECT printf('%016x', i), printf('%032x', i / 10 + 1), \
           CASE WHEN i % 10 AND i > 10 THEN printf('%016x', i / 10 * 10) END, 'work', \
           '2026-03-01T12:00:00+00:00', '2026-03-01T12:00:01+00:00', \
           json_object('n', i, 'text', printf('%.*c', 2000, 'x')), 'OK', 'INTERNAL' FROM n;"
    );
    sqlite3_write(&source, &sql).unwrap();
    let mut import = std::process::Command::new(build().unwrap());
    import.arg("import").arg(&source).arg("--database").arg(folder.join("trace_store.db"));
    assert!(import.output().unwrap().status.success());
    fs::remove_file(source).unwrap();
}

/// Returns bytes of memory: the current ones, and the peak since [`forget_peak`].
fn memory(server: &Server) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// Resets the peak of memory.
fn forget_peak(server: &Server) {
    fs::write(format!("/proc/{}/clear_refs", server.id()), "5").unwrap();
}

/// Sends a query and returns the connection without reading the answer.
fn ask(server: &Server, path: &str, body: &serde_json::Value) -> TcpStream {
    let body = body.to_string();
    let mut stream = TcpStream::connect(server.url().trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    stream
}

/// Reads an answer to its end and returns its length.
fn length(mut stream: TcpStream) -> u64 {
    let (mut total, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return total,
            read => total += read as u64,
        }
    }
}

/// Sends all queries one after the other and reads the answers to their ends.
fn ask_all(server: &Server, queries: &[(&str, serde_json::Value)]) {
    for (path, body) in queries {
        length(ask(server, path, body));
    }
}

#[test]
fn memory_stays_flat_for_all_queries_and_idle_clients_delay_no_other() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let server = Settings::sqlite_in(folder.path()).start().unwrap();
    let mut client = Client::connect(server.url()).unwrap();
    let all_spans = json!({"attribute_filters": [], "attributes_to_return": []});
    let queries = [
        ("/v1/telemetry/spans", all_spans.clone()),
        ("/v1/telemetry/traces", json!({"limit": -1})),
        ("/v1/telemetry/traces", json!({"limit": -1, "order_by": ["duration_ms"]})),
        (
            "/v1/telemetry/spans",
            json!({"attribute_filters": [{"key": "n", "op": "gt", "value": 10}], "attributes_to_return": ["n"]}),
        ),
    ];
    let event =
        json!({"event": {"type": "unstructured_log", "message": "m", "severity": "info", "timestamp": 1}});
    // Fills the caches of all connections and runs all code once. `before` is the peak after that.
    for _ in 0..2 {
        std::thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| ask_all(&server, &queries));
            }
        });
        assert_eq!(client.post("/v1/telemetry/events", &event).unwrap().status, 200);
    }
    let (_, before) = memory(&server);
    assert!(before < LIMIT, "{before} bytes of memory with all caches full");
    for (path, body) in &queries {
        forget_peak(&server);
        let answered = length(ask(&server, path, body));
        let (_, peak) = memory(&server);
        println!("{path} {body}: {} MB answered, at most {} MB of memory", answered >> 20, peak >> 20);
        assert!(answered > 4 << 20 || path.ends_with("traces"), "{answered} bytes are not a long answer");
        assert!(peak < before + GROWTH, "memory grew from {before} to {peak}");
    }
    // Clients that query everything and read nothing: the next client is still answered, and the write-ahead log is
    // emptied.
    forget_peak(&server);
    let idle: Vec<TcpStream> = (0..IDLE).map(|_| ask(&server, "/v1/telemetry/spans", &all_spans)).collect();
    assert_eq!(client.post("/v1/telemetry/events", &event).unwrap().status, 200);
    assert_eq!(client.post("/v1/telemetry/traces", &json!({"limit": 1})).unwrap().status, 200);
    let log = folder.path().join("trace_store.db-wal");
    eventually("the write-ahead log is emptied", || {
        (fs::metadata(&log).map_or(0, |file| file.len()) == 0).then_some(())
    })
    .unwrap();
    let (now, peak) = memory(&server);
    println!("{IDLE} idle clients: {} MB of memory, at most {}", now >> 20, peak >> 20);
    assert!(
        peak < before + IDLE * PER_ANSWER,
        "memory grew from {before} to {peak} with {IDLE} idle clients"
    );
    drop(idle);
    assert_eq!(client.post("/v1/telemetry/traces", &json!({"limit": 1})).unwrap().status, 200);
    assert!(server.stop().unwrap().status.success());
}
