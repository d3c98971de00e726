//! Metrics: increments of cumulative streams, and the points of histograms.

use axum::http::StatusCode;
use serde_json::{Value as Json, json};
use telemetry_server::Settings;
use telemetry_testkit::MemoryStore;

use crate::support::{JSON, Server, metrics};

const DELTA: u8 = 1;
const CUMULATIVE: u8 = 2;

/// Returns a point of the stream that starts at `start` seconds.
fn point(start: u64, time: u64, value: i64) -> Json {
    json!({
        "startTimeUnixNano": (start * 1_000_000_000).to_string(), "timeUnixNano": (time * 1_000_000_000).to_string(),
        "asInt": value.to_string(), "attributes": [{"key": "model_id", "value": {"stringValue": "m"}}],
    })
}

fn sum(temporality: u8, is_monotonic: bool, points: &Json) -> Json {
    let sum =
        json!({"aggregationTemporality": temporality, "isMonotonic": is_monotonic, "dataPoints": points});
    metrics(&json!([{"name": "prompt_tokens", "unit": "tokens", "sum": sum}]))
}

async fn sends(server: &Server, points: Json) {
    server.stores("/v1/metrics", &sum(CUMULATIVE, true, &points)).await;
}

#[tokio::test]
async fn a_cumulative_sum_becomes_increments() {
    let server = Server::new();
    sends(&server, json!([point(10, 20, 5)])).await;
    sends(&server, json!([point(10, 30, 5), point(10, 40, 8)])).await;
    assert_eq!(server.values("llama_stack_prompt_tokens_total").await, [5.0, 0.0, 3.0]);
}

#[tokio::test]
async fn a_point_sent_twice_or_late_is_counted_once() {
    let server = Server::new();
    for _ in 0..2 {
        sends(&server, json!([point(10, 20, 5)])).await;
    }
    sends(&server, json!([point(10, 40, 9)])).await;
    sends(&server, json!([point(10, 30, 7)])).await;
    assert_eq!(server.values("prompt_tokens").await, [5.0, 4.0]);
}

#[tokio::test]
async fn a_restarted_sender_counts_from_zero() {
    let server = Server::new();
    sends(&server, json!([point(10, 20, 5)])).await;
    sends(&server, json!([point(25, 30, 2)])).await;
    // With the same start time, a lower value means a reset.
    sends(&server, json!([point(25, 40, 1)])).await;
    assert_eq!(server.values("prompt_tokens").await, [5.0, 2.0, 1.0]);
}

#[tokio::test]
async fn different_start_times_make_different_streams() {
    let server = Server::new();
    for (time, first, second) in [(20, 5, 100), (30, 6, 101)] {
        sends(&server, json!([point(10, time, first), point(11, time, second)])).await;
    }
    assert_eq!(server.values("prompt_tokens").await.iter().sum::<f64>() as i64, 107);
}

#[tokio::test]
async fn after_a_restart_of_the_server_nothing_is_counted_twice() {
    let store = MemoryStore::new("the-server");
    for value in [5, 8] {
        let server = Server::over(&store, &Settings::default());
        sends(&server, json!([point(10, 20 + u64::try_from(value).unwrap(), value)])).await;
    }
    let server = Server::over(&store, &Settings::default());
    assert_eq!(server.values("prompt_tokens").await, [5.0, 3.0]);
}

#[tokio::test]
async fn a_delta_and_a_gauge_are_stored_as_they_are() {
    let server = Server::new();
    server.stores("/v1/metrics", &sum(DELTA, true, &json!([point(10, 20, 5), point(20, 30, 5)]))).await;
    assert_eq!(server.values("prompt_tokens").await, [5.0, 5.0]);
    let gauge = json!({"dataPoints": [{"timeUnixNano": "1000000000", "asDouble": 21.5}]});
    server.stores("/v1/metrics", &metrics(&json!([{"name": "temp", "unit": "Cel", "gauge": gauge}]))).await;
    assert_eq!(server.values("temp").await, [21.5]);
}

#[tokio::test]
async fn an_up_down_counter_may_fall_and_a_known_gauge_stays_a_gauge() {
    let server = Server::new();
    let falling = |name: &str| {
        let points = [json!({"timeUnixNano": "1", "asInt": "3"}), json!({"timeUnixNano": "2", "asInt": "1"})];
        let sum =
            json!({"aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE", "dataPoints": points});
        metrics(&json!([{"name": name, "sum": sum}]))
    };
    for name in ["queue", "llama_stack_concurrent_requests"] {
        server.stores("/v1/metrics", &falling(name)).await;
    }
    assert_eq!(server.values("queue").await, [3.0, -2.0]);
    assert_eq!(server.values("llama_stack_concurrent_requests").await, [3.0, 1.0]);
}

#[tokio::test]
async fn a_histogram_becomes_a_count_a_sum_and_buckets() {
    let server = Server::new();
    for (time, count, sum, buckets) in [("1", "3", 1.25, ["1", "1", "1"]), ("2", "5", 4.25, ["1", "2", "2"])]
    {
        let point = json!({
            "timeUnixNano": time, "count": count, "sum": sum, "bucketCounts": buckets,
            "explicitBounds": [0.1, 0.5], "min": 0.05, "max": 3,
        });
        let histogram = json!({"aggregationTemporality": CUMULATIVE, "dataPoints": [point]});
        server
            .stores("/v1/metrics", &metrics(&json!([{"name": "lat", "unit": "s", "histogram": histogram}])))
            .await;
    }
    assert_eq!(server.values("lat_count").await, [3.0, 2.0]);
    assert_eq!(server.values("lat_sum").await, [1.25, 3.0]);
    assert_eq!(server.values("lat_max").await, [3.0, 3.0]);
    let query = json!({"start_time": 0, "query_type": "instant", "end_time": 1});
    let answer = server.query("/metrics/lat_bucket", &query).await;
    let mut buckets: Vec<(String, i64)> = answer["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|series| {
            let le = series["labels"].as_array().unwrap().iter().find(|label| label["name"] == "le").unwrap();
            (le["value"].as_str().unwrap().to_owned(), series["values"][0]["value"].as_f64().unwrap() as i64)
        })
        .collect();
    buckets.sort();
    assert_eq!(buckets, [("+Inf".into(), 5), ("0.1".into(), 1), ("0.5".into(), 3)]);
}

#[tokio::test]
async fn an_exponential_histogram_and_a_summary_are_stored() {
    let server = Server::new();
    let point = json!({
        "timeUnixNano": "1", "count": "4", "sum": 7.5, "scale": 0, "zeroCount": 1,
        "positive": {"offset": -1, "bucketCounts": ["1", 0, "2"]},
    });
    let histogram = json!({"aggregationTemporality": DELTA, "dataPoints": [point]});
    server
        .stores("/v1/metrics", &metrics(&json!([{"name": "exp", "exponentialHistogram": histogram}])))
        .await;
    assert_eq!(server.values("exp_count").await, [4.0]);
    let mut buckets = server.values("exp_bucket").await;
    buckets.sort_by(f64::total_cmp);
    assert_eq!(buckets, [1.0, 1.0, 2.0]);
    let quantiles = json!([{"quantile": 0.5, "value": 2}, {"quantile": 0.99, "value": "NaN"}]);
    let point = json!({"timeUnixNano": "1", "count": 2, "sum": 4, "quantileValues": quantiles});
    server
        .stores("/v1/metrics", &metrics(&json!([{"name": "sum", "summary": {"dataPoints": [point]}}])))
        .await;
    assert_eq!(server.values("sum").await, [2.0]);
    assert_eq!(server.values("sum_sum").await, [4.0]);
}

#[tokio::test]
async fn an_invalid_point_is_rejected_with_its_reason() {
    let server = Server::new();
    let value = |value: Json| json!({"timeUnixNano": "1", "asDouble": value});
    for (points, reason) in [
        (json!([value(json!("NaN"))]), "no value"),
        (json!([value(json!("Infinity"))]), "no value"),
        (json!([value(json!(-1))]), "negative"),
        (json!([{"timeUnixNano": "1", "asInt": "many"}]), "no value"),
        (json!([{"timeUnixNano": "18446744073709551615", "asInt": "1"}]), "2262"),
    ] {
        let answer = server.post("/v1/metrics", JSON, sum(DELTA, true, &points).to_string().as_bytes()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{points}");
        assert!(answer.json()["message"].as_str().unwrap().contains(reason), "{points}: {}", answer.json());
    }
    let no_temporality = sum(0, true, &json!([point(1, 2, 3)])).to_string();
    let answer = server.post("/v1/metrics", JSON, no_temporality.as_bytes()).await;
    assert!(answer.json()["message"].as_str().unwrap().contains("expected 1 (delta)"), "{}", answer.json());
    let points = json!([value(json!("NaN")), point(1, 2, 3)]);
    let answer = server.post("/v1/metrics", JSON, sum(DELTA, true, &points).to_string().as_bytes()).await;
    assert_eq!(answer.json()["partialSuccess"]["rejectedDataPoints"], "1", "{}", answer.json());
    assert_eq!(server.values("prompt_tokens").await, [3.0]);
    // A point flagged "no recorded value" is skipped, not rejected.
    let silent = json!([{"timeUnixNano": "9", "flags": 1}]);
    server.stores("/v1/metrics", &sum(CUMULATIVE, true, &silent)).await;
}

#[tokio::test]
async fn every_rejected_point_is_counted_and_the_reason_names_its_metric() {
    let server = Server::new();
    let points = json!([{"asInt": "1"}, {"asInt": "2"}]);
    let body = metrics(&json!([
        {"gauge": {"dataPoints": points}},
        {"name": "m", "sum": {"aggregationTemporality": "DAILY", "dataPoints": points}},
        {"name": "n", "gauge": {"dataPoints": [{"asInt": "x"}, {"asInt": "3", "exemplars": [{"spanId": "?"}]}]}},
    ]));
    let answer = server.post("/v1/metrics", JSON, body.to_string().as_bytes()).await.json();
    assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], "5", "{answer}");
    let reasons = answer["partialSuccess"]["errorMessage"].as_str().unwrap();
    for metric in ["has no name", "`m`", "`n`"] {
        assert!(reasons.contains(metric), "{metric}: {reasons}");
    }
    assert_eq!(server.values("n").await, [3.0]);
}

#[tokio::test]
async fn a_histogram_is_stored_without_extremes_that_are_not_numbers() {
    let server = Server::new();
    let point = json!({"count": 2, "sum": 3, "min": "NaN", "max": "Infinity", "bucketCounts": [1, 1],
        "explicitBounds": [1]});
    let histogram = json!({"aggregationTemporality": DELTA, "dataPoints": [point]});
    server.stores("/v1/metrics", &metrics(&json!([{"name": "h", "histogram": histogram}]))).await;
    assert_eq!(server.values("h_count").await, [2.0]);
    assert!(server.values("h_min").await.is_empty());
}

#[tokio::test]
async fn prometheus_is_shown_metrics_of_a_named_service_and_the_buckets_of_histograms() {
    let server = Server::new();
    let point = json!({
        "timeUnixNano": "1", "count": "3", "sum": 1.25, "bucketCounts": ["1", "1", "1"], "explicitBounds": [0.1, 0.5],
    });
    let histogram = json!({"aggregationTemporality": DELTA, "dataPoints": [point]});
    let gauge = json!({"dataPoints": [{"timeUnixNano": "1", "asDouble": 2.5}]});
    let both = json!([{"name": "lat", "unit": "s", "histogram": histogram}, {"name": "temperature", "gauge": gauge}]);
    server.stores("/v1/metrics", &metrics(&both)).await;
    let page = String::from_utf8(server.get("/metrics").await.body.clone()).unwrap();
    let line = |start: &str, part: &str| {
        page.lines()
            .find(|line| line.starts_with(start) && line.contains(part))
            .unwrap_or_else(|| panic!("no {start} {part} in {page}"))
    };
    assert!(line("temperature{", "service_name=\"chat\"").ends_with(" 2.5"));
    assert!(line("lat_count_total{", "service_name=\"chat\"").ends_with(" 3"));
    assert!(line("lat_bucket_total{", "le=\"0.5\"").ends_with(" 2"));
}
