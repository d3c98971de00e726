//! However a request ends, it counts once, with the right status.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::panic::AssertUnwindSafe;
use std::task::Poll;

use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use telemetry_pipeline::Telemetry;
use telemetry_tower::{RequestMetricsLayer, Routes};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::stage::{Stage, one_request};

fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).body(Empty::new()).unwrap()
}

fn frames(frames: Vec<io::Result<&'static str>>) -> impl Body<Data = Bytes, Error = io::Error> + Unpin {
    let frames = frames.into_iter().map(|frame| frame.map(|text| Frame::data(Bytes::from(text))));
    StreamBody::new(stream::iter(frames))
}

/// Asks a service that answers `response` through the metrics layer.
async fn answer<B: Body>(
    stage: &Stage,
    request: Request<Empty<Bytes>>,
    response: Response<B>,
) -> Response<impl Body> {
    let mut response = Some(response);
    let service = service_fn(move |_| std::future::ready(response.take().ok_or("asked twice")));
    let service = ServiceBuilder::new().layer(stage.metrics_layer(Routes::new())).service(service);
    service.oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_whole_answer_counts_with_its_status() {
    let stage = Stage::new();
    let response = Response::builder().status(503).body(Full::new(Bytes::from("later"))).unwrap();
    let response = answer(&stage, request("/v1/inference/embeddings"), response).await;
    assert!(response.into_body().collect().await.is_ok());
    assert_eq!(stage.into_metrics(), one_request("inference", 503));
}

#[tokio::test]
async fn a_streamed_answer_ends_with_its_last_byte() {
    let stage = Stage::new();
    let stream = frames(vec![Ok("data: a\n\n"), Ok("data: b\n\n")]);
    let mut body = answer(&stage, request("/v1/inference/chat"), Response::new(stream)).await.into_body();
    assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
    stage.telemetry().flush(telemetry_testkit::DEADLINE).await;
    assert_eq!(stage.seen.signals().len(), 1, "only its start was measured yet");
    while body.frame().await.is_some() {}
    drop(body);
    assert_eq!(stage.into_metrics(), one_request("inference", 200));
}

#[tokio::test]
async fn a_client_that_leaves_counts_as_499() {
    let stage = Stage::new();
    let stream = frames(vec![Ok("data: a\n\n"), Ok("data: b\n\n")]);
    let mut body = answer(&stage, request("/v1/inference/chat"), Response::new(stream)).await.into_body();
    assert!(body.frame().await.is_some());
    drop(body);
    assert_eq!(stage.into_metrics(), one_request("inference", 499));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_counts_as_499() {
    let stage = Stage::new();
    let never = service_fn(async |_: Request<Empty<Bytes>>| {
        pending::<Result<Response<Empty<Bytes>>, Infallible>>().await
    });
    let service = ServiceBuilder::new().layer(stage.metrics_layer(Routes::new())).service(never);
    let call = service.oneshot(request("/v1/agents"));
    assert!(call.now_or_never().is_none(), "dropped while it waits");
    assert_eq!(stage.into_metrics(), one_request("agents", 499));
}

#[tokio::test]
async fn a_body_that_breaks_off_counts_as_500() {
    let stage = Stage::new();
    let stream = frames(vec![Ok("data: a\n\n"), Err(io::ErrorKind::BrokenPipe.into())]);
    let response = answer(&stage, request("/v1/inference/chat"), Response::new(stream)).await;
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(stage.into_metrics(), one_request("inference", 500));
}

#[tokio::test]
async fn an_error_of_the_service_counts_as_500() {
    let stage = Stage::new();
    let failing = service_fn(async |_: Request<Empty<Bytes>>| Err::<Response<Empty<Bytes>>, _>("no backend"));
    let service = ServiceBuilder::new().layer(stage.metrics_layer(Routes::new())).service(failing);
    assert_eq!(service.oneshot(request("/v1/safety")).await.err(), Some("no backend"));
    assert_eq!(stage.into_metrics(), one_request("safety", 500));
}

#[tokio::test]
async fn a_panic_counts_as_500_also_where_it_is_caught() {
    let stage = Stage::new();
    let panicking =
        service_fn(async |_: Request<Empty<Bytes>>| -> Result<Response<Empty<Bytes>>, Infallible> {
            panic!("a bug of the handler")
        });
    let service = ServiceBuilder::new().layer(stage.metrics_layer(Routes::new())).service(panicking);
    let call = AssertUnwindSafe(service.oneshot(request("/v1/safety"))).catch_unwind();
    assert!(call.await.is_err());
    assert_eq!(stage.into_metrics(), one_request("safety", 500));
}

#[tokio::test]
async fn a_panic_in_the_body_counts_as_500() {
    let stage = Stage::new();
    let bug = stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("a bug of the stream")
    });
    let response = answer(&stage, request("/v1/inference/chat"), Response::new(StreamBody::new(bug))).await;
    assert!(AssertUnwindSafe(response.into_body().collect()).catch_unwind().await.is_err());
    assert_eq!(stage.into_metrics(), one_request("inference", 500));
}

/// Servers drop a body once it has given all the bytes it promised, and never look at one that has none.
#[tokio::test]
async fn a_body_that_nobody_asks_for_its_end_is_complete() {
    let known = |length: &str| Response::builder().header(CONTENT_LENGTH, length);
    let stage = Stage::new();
    let response = known("9").body(frames(vec![Ok("data: a\n\n"), Ok("")])).unwrap();
    let mut body = answer(&stage, request("/v1/files"), response).await.into_body();
    assert!(body.frame().await.is_some());
    drop(body);
    let head = Request::builder().method(Method::HEAD).uri("/v1/files").body(Empty::new()).unwrap();
    drop(answer(&stage, head, known("9").body(frames(vec![Ok("")])).unwrap()).await);
    let nothing = Response::builder().status(StatusCode::NO_CONTENT).body(frames(Vec::new())).unwrap();
    drop(answer(&stage, request("/v1/files"), nothing).await);
    drop(answer(&stage, request("/v1/files"), known("0").body(frames(Vec::new())).unwrap()).await);
    let expected = [
        one_request("files", 200),
        one_request("files", 200),
        one_request("files", 204),
        one_request("files", 200),
    ];
    assert_eq!(stage.into_metrics(), expected.concat());
}

#[tokio::test]
async fn requests_at_the_same_time_are_counted_up_and_down() {
    let stage = Stage::new();
    let layer = stage.metrics_layer(Routes::new());
    let waiting = || {
        let never = service_fn(async |_: Request<Empty<Bytes>>| {
            pending::<Result<Response<Empty<Bytes>>, Infallible>>().await
        });
        let mut call = Box::pin(
            ServiceBuilder::new().layer(layer.clone()).service(never).oneshot(request("/v1/agents")),
        );
        assert!((&mut call).now_or_never().is_none());
        call
    };
    let calls = [waiting(), waiting()];
    drop(calls);
    let mut metrics = stage.into_metrics();
    metrics.retain(|line| line.starts_with("concurrent"));
    assert_eq!(
        metrics.join(" "),
        [1, 2, 1, 0].map(|count| format!("concurrent{{api=agents}} {count}")).join(" ")
    );
}

#[tokio::test]
async fn a_scan_counts_as_unknown() {
    let stage = Stage::new();
    let missing = || Response::builder().status(404).body(Empty::<Bytes>::new()).unwrap();
    drop(answer(&stage, request("/wp-login.php"), missing()).await);
    let metrics = stage.into_metrics();
    assert_eq!(metrics[1..3], one_request("unknown", 404)[1..3]);
}

#[tokio::test]
async fn what_is_excluded_and_what_nobody_wants_is_passed_through() {
    let stage = Stage::new();
    drop(answer(&stage, request("/docs/index.html"), Response::new(Full::new(Bytes::from("read me")))).await);
    assert!(stage.into_metrics().is_empty());

    let layer = RequestMetricsLayer::new(Telemetry::disabled(), Routes::new());
    let hello = service_fn(async |_: Request<Empty<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
    });
    let response = ServiceBuilder::new().layer(layer).service(hello).oneshot(request("/")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
}
