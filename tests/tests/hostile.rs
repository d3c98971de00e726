//! Clients that are slow, send too much or send nonsense: each gets a clear answer or a closed connection, and the
//! server keeps serving others.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use telemetry_tests::{Client, Server, Settings, eventually};

const EVENTS: &str = "/v1/telemetry/events";

fn metric(value: u64) -> Value {
    json!({"event": {"type": "metric", "metric": "m", "value": value, "unit": "1",
                     "timestamp": "2026-03-01T12:00:00Z", "attributes": {}}})
}

/// Starts a server with these settings in its map `server:`.
fn server(folder: &Path, lines: &str) -> Server {
    let file = folder.join("telemetry.yaml");
    std::fs::write(&file, format!("server: {{{lines}}}\n")).unwrap();
    Settings::sqlite_in(folder).arguments(&["--config", file.to_str().unwrap()]).start().unwrap()
}

fn raw(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.url().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(telemetry_tests::DEADLINE)).unwrap();
    stream
}

/// Reads until the server closes the connection.
fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset closes the connection, too.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Returns the status of each answer.
fn statuses(received: &str) -> Vec<&str> {
    received.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

/// Returns a value of `/proc/PID/status`, in kB.
fn memory(server: &Server, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count()
}

/// Returns how many connections this process may open, at most ten thousand.
fn many() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).unwrap();
    let most = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| usize::try_from(most).unwrap());
    (most - 200).min(10_000)
}

/// Opens `count` connections and sends a byte on each of them every second, until `done`. Sets `all_open` once all
/// are open.
fn be_slow(server: &Server, count: usize, all_open: &AtomicBool, done: &AtomicBool) {
    let head = format!("POST {EVENTS} HTTP/1.1\r\nhost: slow\r\nx-slow: {}", "x".repeat(1_000));
    let mut slow: Vec<TcpStream> = Vec::new();
    for byte in head.bytes() {
        let tick = Instant::now();
        for stream in &mut slow {
            // The server has closed most of them.
            let _ = stream.write(&[byte]);
        }
        for _ in 0..(count - slow.len()).min(count / 4) {
            let stream = raw(server);
            stream.set_nonblocking(true).unwrap();
            slow.push(stream);
        }
        all_open.store(slow.len() == count, Ordering::Relaxed);
        while tick.elapsed() < Duration::from_secs(1) {
            if done.load(Ordering::Relaxed) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

#[test]
fn ten_thousand_clients_that_send_a_byte_a_second_delay_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "max_connections: 500");
    let count = many();
    let (all_open, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut latencies, mut most_descriptors) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| be_slow(&server, count, &all_open, &done));
        let mut still = 500;
        while still > 0 && latencies.len() < 100_000 {
            still -= u32::from(all_open.load(Ordering::Relaxed));
            let asked = Instant::now();
            // A new connection each time is the hardest to serve.
            let client = Client::connect(server.url());
            let answer = client.and_then(|mut client| client.post(EVENTS, &metric(1)));
            latencies.push((asked.elapsed(), answer.map(|answer| answer.status).unwrap_or_default()));
            most_descriptors = most_descriptors.max(descriptors(&server));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(latencies.iter().all(|(_, status)| *status == 200), "{latencies:?}");
    assert!(most_descriptors < 500 + 128, "{most_descriptors} descriptors");
    latencies.sort_unstable();
    let (p50, p99) = (latencies[latencies.len() / 2].0, latencies[latencies.len() * 99 / 100].0);
    println!("{count} slow clients; {} others, p50 {p50:?}, p99 {p99:?}", latencies.len());
    assert!(p99 < Duration::from_millis(500), "p99 {p99:?}");
    assert!(memory(&server, "VmHWM:") < 200 << 10, "{} kB", memory(&server, "VmHWM:"));
}

#[test]
fn a_head_that_never_ends_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "header_timeout: 200ms");
    let mut stream = raw(&server);
    stream.write_all(b"GET /v1/health HTTP/1.1\r\nhost: x\r\n").unwrap();
    assert_eq!(statuses(&until_closed(&mut stream)), Vec::<&str>::new());
    let mut idle = raw(&server);
    idle.write_all(b"GET /v1/version HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(statuses(&until_closed(&mut idle)), ["200"], "answered, and closed once idle");
}

#[test]
fn a_body_that_never_ends_is_answered_408() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "body_timeout: 200ms");
    let mut stream = raw(&server);
    write!(stream, "POST {EVENTS} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{\"event\"").unwrap();
    assert_eq!(statuses(&until_closed(&mut stream)), ["408"]);
}

#[test]
fn a_head_that_is_too_large_is_answered_431() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "max_header_size: 8KiB");
    for head in [format!("x-long: {}\r\n", "x".repeat(9_000)), "x-many: 1\r\n".repeat(200)] {
        let mut stream = raw(&server);
        // The server may answer before everything is sent.
        let _ = write!(stream, "GET /v1/health HTTP/1.1\r\nhost: x\r\n{head}\r\n");
        let received = until_closed(&mut stream);
        assert_eq!(statuses(&received), ["431"]);
        assert!(received.contains("\r\nx-trace-id: ") && received.ends_with('}'), "{received}");
    }
}

#[test]
fn garbage_after_a_request_is_refused_and_the_request_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "");
    let mut stream = raw(&server);
    stream
        .write_all(b"GET /v1/version HTTP/1.1\r\nhost: x\r\n\r\n\x00\xff\xfe garbage \r\n\r\n\r\n")
        .unwrap();
    let received = until_closed(&mut stream);
    assert_eq!(statuses(&received), ["200", "400"]);
    assert_eq!(received.matches("\r\nx-trace-id: ").count(), 2, "{received}");
    let mut stream = raw(&server);
    // Two thousand pipelined requests are answered in order.
    let requests = "GET /v1/version HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2_000);
    let last = "GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all((requests + last).as_bytes()));
    let received = until_closed(&mut stream);
    sender.join().unwrap().unwrap();
    let statuses = statuses(&received);
    assert_eq!((statuses.len(), statuses[1_999], statuses[2_000]), (2_001, "200", "404"));
}

#[test]
fn a_hundred_megabytes_are_refused_and_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "");
    let chunk = vec![b'['; 1 << 20];
    std::thread::scope(|scope| {
        for declared in [true, false].repeat(4) {
            let (server, chunk) = (&server, &chunk);
            scope.spawn(move || {
                let mut stream = raw(server);
                let length =
                    if declared { "content-length: 104857600" } else { "transfer-encoding: chunked" };
                write!(stream, "POST {EVENTS} HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n").unwrap();
                for _ in 0..100 {
                    let sent = if declared { Ok(()) } else { stream.write_all(b"100000\r\n") };
                    if sent.and_then(|()| stream.write_all(chunk)).is_err() {
                        break;
                    }
                    if !declared && stream.write_all(b"\r\n").is_err() {
                        break;
                    }
                }
                // A reset may swallow the answer. 503 if eight such bodies at once are too many.
                for status in statuses(&until_closed(&mut stream)) {
                    assert!(["413", "503"].contains(&status), "{status}");
                }
            });
        }
    });
    assert!(memory(&server, "VmHWM:") < 200 << 10, "{} kB", memory(&server, "VmHWM:"));
    let mut client = Client::connect(server.url()).unwrap();
    assert_eq!(client.post(EVENTS, &metric(1)).unwrap().status, 200);
}

#[test]
fn a_body_of_a_million_values_is_not_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "");
    let before = memory(&server, "VmHWM:");
    let mut client = Client::connect(server.url()).unwrap();
    let body = format!("[{}0]", "0,".repeat(8_000_000));
    let answer = client.request("POST", EVENTS, &[], body.as_bytes()).unwrap();
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(memory(&server, "VmHWM:") - before < 100 << 10);
}

#[test]
fn wrong_bodies_are_answered_400_and_harm_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "");
    let mut client = Client::connect(server.url()).unwrap();
    let deep = "[".repeat(100_000);
    let wrong: [&[u8]; 6] = [
        b"\xff\xfe",
        b"{\"event\": \"\xc3\x28\"}",
        deep.as_bytes(),
        b"{\"event\":",
        b"nan",
        b"{\"event\": 1e999}",
    ];
    for body in wrong {
        for path in [EVENTS, "/v1/telemetry/traces", "/v1/telemetry/spans", "/v1/telemetry/logs"] {
            let answer = client.request("POST", path, &[], body).unwrap();
            assert_eq!(answer.status, 400, "{path} {}", String::from_utf8_lossy(&body[..body.len().min(20)]));
            assert!(answer.json()["error"]["detail"]["errors"].is_array());
        }
    }
    // The last of two equal keys counts.
    let twice = metric(1).to_string().replace("\"value\":1", "\"value\":1,\"value\":2");
    assert_eq!(client.request("POST", EVENTS, &[], twice.as_bytes()).unwrap().status, 200);
    let query = json!({"start_time": 0, "query_type": "instant"});
    let answer = client.post("/v1/telemetry/metrics/m", &query).unwrap();
    assert_eq!(answer.json()["data"][0]["values"][0]["value"], 2.0, "{}", answer.text());
}

#[test]
fn a_request_that_has_begun_is_answered_after_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "");
    let body = metric(1).to_string();
    let (first, rest) = body.split_at(10);
    let mut stream = raw(&server);
    let length = body.len();
    write!(stream, "POST {EVENTS} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{first}").unwrap();
    // The server has accepted the first connection once it answers a later one.
    let url = server.url().to_owned();
    Client::connect(&url).unwrap().get("/v1/health").unwrap();
    let stopped = std::thread::spawn(move || server.stop());
    eventually("no new connection is taken", || Client::connect(&url).is_err().then_some(())).unwrap();
    stream.write_all(rest.as_bytes()).unwrap();
    assert_eq!(statuses(&until_closed(&mut stream)), ["200"]);
    assert!(stopped.join().unwrap().unwrap().status.success());
}

#[test]
fn a_path_that_is_not_utf8_is_answered_as_other_errors_are() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "");
    let mut client = Client::connect(server.url()).unwrap();
    for (method, path) in [("GET", "/v1/telemetry/traces/%ff"), ("POST", "/v1alpha/telemetry/metrics/%ff")] {
        let answer = client.request(method, path, &[], b"{\"start_time\": 0}").unwrap();
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.json()["detail"].is_string(), "{path}: {}", answer.text());
    }
}

#[test]
fn an_event_with_too_many_attributes_is_refused_and_its_neighbours_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "");
    let mut client = Client::connect(server.url()).unwrap();
    let mut large = metric(1)["event"].clone();
    for number in 0..20_000 {
        large["attributes"][format!("key-{number}")] = json!(number);
    }
    let answer = client.post(EVENTS, &json!({"event": large})).unwrap();
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("at most 10000 items, not 2000"), "{}", answer.text());
    let batch = json!({"events": [{"event": {"type": "wrong"}}, {"event": metric(2)["event"]}, {"event": large}, {"event": metric(3)["event"]}]});
    let answer = client.post(EVENTS, &batch).unwrap().json();
    let rejected: Vec<_> =
        answer["rejected"].as_array().unwrap().iter().map(|event| &event["index"]).collect();
    assert_eq!((&answer["accepted"], rejected), (&json!(2), vec![&json!(0), &json!(2)]), "{answer}");
}

#[test]
fn a_huge_number_is_a_whole_number() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "");
    let mut client = Client::connect(server.url()).unwrap();
    let logged = json!({"event": metric(1)["event"], "ttl_seconds": 1e300});
    for (path, body) in [(EVENTS, logged), ("/v1/telemetry/traces", json!({"limit": 1e300, "offset": 1e40}))]
    {
        let answer = client.post(path, &body).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
}
