//! The layers in an axum router, over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::MatchedPath;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use telemetry_core::{Signal, SpanStatus, Value};
use telemetry_pipeline::{SpanHandle, Telemetry};
use telemetry_tower::{RequestMetricsLayer, RequestSpanLayer, Route, Routes, api_of};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::support::{CapturingPipeline, ask, one_request, send};

/// Streams tokens until the client disconnects.
async fn endless() -> Body {
    let tokens = stream::repeat_with(|| Ok::<_, std::convert::Infallible>(Bytes::from("data: token\n\n")));
    Body::from_stream(tokens.then(async |token| {
        tokio::time::sleep(Duration::from_millis(1)).await;
        token
    }))
}

/// Records its choice in the request's span, and starts a child of it.
async fn choose_model(Extension(span): Extension<SpanHandle>) -> &'static str {
    span.set_attribute("model_id", "llama");
    let _step = span.child("step", telemetry_core::attrs! {});
    span.record_error(&"the model is gone");
    "sorry"
}

fn is_end(signal: &Signal) -> bool {
    matches!(signal, Signal::SpanEnded(_))
}

async fn serve(pipeline: &CapturingPipeline) -> SocketAddr {
    serve_with(pipeline.telemetry()).await
}

async fn serve_with(telemetry: Telemetry) -> SocketAddr {
    let routes = Routes::from_fn(|request| {
        let template = request.extensions.get::<MatchedPath>()?.as_str().to_owned();
        Some(Route { api: api_of(&template).to_owned().into(), template: template.into() })
    });
    let app = Router::new()
        .route("/v1/models/{model_id}", get(async || "a model"))
        .route("/v1/routing", post(choose_model))
        .route("/docs", get(choose_model))
        .route("/v1/inference/chat", post(endless))
        .route("/v1/safety", post(async || -> &'static str { panic!("a bug of the handler") }))
        .layer(RequestMetricsLayer::new(telemetry.clone(), routes.clone()))
        .layer(RequestSpanLayer::new(telemetry, routes));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_names_its_api_and_its_span() {
    let pipeline = CapturingPipeline::new();
    let answer = ask(serve(&pipeline).await, "GET /v1/models/llama").await;
    assert!(answer.contains("x-trace-id: ") && answer.ends_with("a model"), "{answer}");
    pipeline.wait_for_requests(1);
    pipeline.seen.wait_until("the span's end", |signals| signals.iter().any(is_end));
    assert_eq!(pipeline.seen.ended_spans()[0].name, "GET /v1/models/{model_id}");
    assert_eq!(pipeline.into_metrics(), one_request("models", 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_sets_attributes_of_its_requests_span_and_fails_it() {
    let pipeline = CapturingPipeline::new();
    assert!(ask(serve(&pipeline).await, "POST /v1/routing").await.ends_with("sorry"));
    pipeline.wait_for_requests(1);
    pipeline
        .seen
        .wait_until("both spans", |signals| signals.iter().filter(|signal| is_end(signal)).count() == 2);
    let [step, request] = &pipeline.seen.ended_spans()[..] else { panic!("two spans") };
    assert_eq!((step.parent_span_id, step.trace_id), (Some(request.span_id), request.trace_id));
    assert_eq!(request.attributes.get("model_id"), Some(&Value::from("llama")));
    assert_eq!(request.attributes.get("error"), Some(&Value::from("the model is gone")));
    assert_eq!(request.status, Some(SpanStatus::Error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_gets_a_span_handle_even_without_a_span() {
    let address = serve_with(Telemetry::disabled()).await;
    assert!(ask(address, "POST /v1/routing").await.ends_with("sorry"), "telemetry is disabled");
    let pipeline = CapturingPipeline::new();
    assert!(ask(serve(&pipeline).await, "GET /docs").await.ends_with("sorry"), "the path is excluded");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_do_not_exist_are_unknown() {
    let pipeline = CapturingPipeline::new();
    let address = serve(&pipeline).await;
    assert!(ask(address, "GET /v1/models").await.starts_with("HTTP/1.1 404"));
    assert!(ask(address, "GET /.env").await.starts_with("HTTP/1.1 404"));
    pipeline.wait_for_requests(2);
    assert_eq!(pipeline.into_metrics(), [one_request("unknown", 404), one_request("unknown", 404)].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_disconnects_during_a_stream_counts_once_as_499() {
    let pipeline = CapturingPipeline::new();
    let mut connection = send(serve(&pipeline).await, "POST /v1/inference/chat").await;
    let mut some = [0; 1_024];
    assert!(connection.read(&mut some).await.unwrap() > 0);
    drop(connection);
    pipeline.wait_for_requests(1);
    assert_eq!(pipeline.into_metrics(), one_request("inference", 499));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_counts_once_as_500() {
    let pipeline = CapturingPipeline::new();
    assert_eq!(ask(serve(&pipeline).await, "POST /v1/safety").await, "", "the connection is closed");
    pipeline.wait_for_requests(1);
    assert_eq!(pipeline.into_metrics(), one_request("safety", 500));
}
