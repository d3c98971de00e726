//! A store that can't keep up: clients are told to try again, and memory stays bounded.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use telemetry_core::{MetricValue, Signal};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec};
use telemetry_server::{Settings, router};
use telemetry_testkit::{FaultySink, MemoryStore, Move, READY_MADE, ready_made};
use tower::ServiceExt as _;

/// Returns a log of 10 kB.
fn log() -> String {
    let message = "x".repeat(10_000);
    format!(
        r#"{{"event": {{"type": "unstructured_log", "message": "{message}", "severity": "info", "timestamp": 0}}}}"#
    )
}

#[tokio::test]
async fn a_store_that_hangs_is_answered_503_then_429_until_it_commits_again() {
    let (sink, script) = FaultySink::new([Move::Block]);
    let mut built = sink.built();
    built.store = Some(Arc::new(MemoryStore::new("test")));
    built.options.queue_bytes = 100_000;
    let spec = SinkSpec { entry: &READY_MADE, context: ready_made(built) };
    let pipeline = Pipeline::start(vec![spec], PipelineConfig::default()).unwrap();
    let settings = Settings { ack_within: Duration::from_millis(20), ..Settings::default() };
    let api = router(pipeline.telemetry(), &settings);
    let post = async || {
        let request = Request::post("/v1/telemetry/events").body(Body::from(log())).unwrap();
        let answer = api.clone().oneshot(request).await.unwrap();
        (
            answer.status().as_u16(),
            answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned()),
        )
    };
    assert_eq!(post().await, (503, Some("1".to_owned())));
    let mut refused = 0;
    for _ in 0..100 {
        let (status, retry_after) = post().await;
        assert_eq!(retry_after.as_deref(), Some("1"), "{status}");
        refused += u32::from(status == 429);
    }
    let pending = pipeline.telemetry().ledger().sinks[0].pending;
    assert!(refused > 50 && pending < 30, "{refused} refused, {pending} pending");
    script.release();
    tokio::time::timeout(Duration::from_secs(30), async { while post().await.0 != 200 {} }).await.unwrap();
}

#[tokio::test]
async fn a_cumulative_point_sent_again_while_its_first_try_is_pending_counts_once() {
    let (sink, script) = FaultySink::new([Move::Block]);
    let mut built = sink.built();
    built.store = Some(Arc::new(MemoryStore::new("test")));
    let spec = SinkSpec { entry: &READY_MADE, context: ready_made(built) };
    let pipeline = Pipeline::start(vec![spec], PipelineConfig::default()).unwrap();
    let settings = Settings { ack_within: Duration::from_millis(20), ..Settings::default() };
    let api = router(pipeline.telemetry(), &settings);
    let body = r#"{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "sum": {
        "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [{"timeUnixNano": "9", "asInt": "5"}]
    }}]}]}]}"#;
    let post = async || {
        let request = Request::post("/v1/metrics").body(Body::from(body)).unwrap();
        api.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    assert_eq!((post().await, post().await), (503, 503));
    script.release();
    tokio::time::timeout(Duration::from_secs(30), async { while post().await != 200 {} }).await.unwrap();
    let values = script.seen().signals().into_iter().filter_map(|signal| match signal {
        Signal::Metric(point) => Some(point.value),
        _ => None,
    });
    assert_eq!(values.collect::<Vec<_>>(), [MetricValue::Int(5)]);
}

#[tokio::test]
async fn batches_that_wait_for_the_decode_limit_are_all_stored() {
    const EVENTS: usize = 500;
    let (sink, script) = FaultySink::new([]);
    let mut built = sink.built();
    built.store = Some(Arc::new(MemoryStore::new("test")));
    let spec = SinkSpec { entry: &READY_MADE, context: ready_made(built) };
    let pipeline = Pipeline::start(vec![spec], PipelineConfig::default()).unwrap();
    let api = router(pipeline.telemetry(), &Settings::default());
    // About 5 MB, which is more than the limit for decoding at once.
    let body = format!(r#"{{"events": [{}]}}"#, vec![log(); EVENTS].join(","));
    let post = async || {
        let request = Request::post("/v1/telemetry/events").body(Body::from(body.clone())).unwrap();
        api.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    assert_eq!(tokio::join!(post(), post(), post()), (200, 200, 200));
    assert_eq!(script.seen().signals().len(), 3 * EVENTS);
}
