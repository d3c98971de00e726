//! Queries that take much processor time or memory are refused, or delay nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use telemetry_tests::{Client, Settings};

const METRICS: &str = "/v1/telemetry/metrics/m";

fn points(numbers: std::ops::Range<u32>) -> Value {
    let event = |number| {
        json!({"event": {"type": "metric", "metric": "m", "value": number, "unit": "u",
            "timestamp": 1_703_123_456, "attributes": {"shard": number % 7}}})
    };
    json!({"events": numbers.map(event).collect::<Vec<_>>()})
}

fn matchers(count: usize, pattern: &str) -> Value {
    let matcher = json!({"name": "shard", "operator": "=~", "value": pattern});
    json!({"start_time": 0, "label_matchers": vec![matcher; count]})
}

#[test]
fn too_many_or_too_large_patterns_are_refused_with_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let server = Settings::sqlite_in(folder.path()).start().unwrap();
    let mut client = Client::connect(server.url()).unwrap();
    for (body, words) in [
        (matchers(500, r"\w{50}"), "at most 64 items, not 500"),
        (matchers(1, &"a".repeat(2_000)), "at most 1024"),
        (matchers(1, r"\w{1000}"), "invalid regular expression"),
    ] {
        let answer = client.post(METRICS, &body).unwrap();
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains(words), "no `{words}` in {}", answer.text());
    }
}

#[test]
fn queries_with_many_patterns_delay_no_health_check_and_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let server = Settings::sqlite_in(folder.path()).start().unwrap();
    let mut client = Client::connect(server.url()).unwrap();
    assert_eq!(client.post("/v1/telemetry/events", &points(0..1_000)).unwrap().status, 200);
    let done = AtomicBool::new(false);
    let slowest = std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::connect(server.url()).unwrap();
                while !done.load(Ordering::Relaxed) {
                    let answer = client.post(METRICS, &matchers(64, r"\w{1,20}|[^x]*y{3}.*")).unwrap();
                    assert!([200, 400, 503].contains(&answer.status), "{}", answer.text());
                }
            });
        }
        let mut slowest = Duration::ZERO;
        for number in 0..50 {
            let started = Instant::now();
            assert_eq!(client.get("/v1/health").unwrap().status, 200);
            let event = points(number..number + 1);
            assert_eq!(client.post("/v1/telemetry/events", &event).unwrap().status, 200);
            slowest = slowest.max(started.elapsed());
        }
        done.store(true, Ordering::Relaxed);
        slowest
    });
    println!("slowest health check and event: {slowest:?}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}

#[test]
fn more_raw_points_than_an_answer_may_have_are_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = Settings::sqlite_in(folder.path()).start().unwrap();
    let mut client = Client::connect(server.url()).unwrap();
    for part in 0..11 {
        let answer =
            client.post("/v1/telemetry/events", &points(part * 10_000..part * 10_000 + 10_000)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let raw = client.post(METRICS, &json!({"start_time": 0})).unwrap();
    assert_eq!(raw.status, 400, "{}", &raw.text()[..200]);
    assert!(raw.text().contains("100000 raw points") && raw.text().contains("granularity"), "{}", raw.text());
    let stepped =
        client.post(METRICS, &json!({"start_time": 0, "granularity": "1h", "aggregation": "count"}));
    let counts: Vec<Value> = stepped.unwrap().json()["data"].as_array().unwrap().clone();
    let total: f64 = counts.iter().map(|series| series["values"][0]["value"].as_f64().unwrap()).sum();
    assert!((total - 110_000.0).abs() < 0.5, "{total}");
}
