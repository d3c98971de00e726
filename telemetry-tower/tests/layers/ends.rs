//! A request counts once, with the right status, however it ends.

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

use crate::support::{CapturingPipeline, one_request};

fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).body(Empty::new()).unwrap()
}

fn frames(frames: Vec<io::Result<&'static str>>) -> impl Body<Data = Bytes, Error = io::Error> + Unpin {
    let frames = frames.into_iter().map(|frame| frame.map(|text| Frame::data(Bytes::from(text))));
    StreamBody::new(stream::iter(frames))
}

/// Sends a request through the metrics layer to a service that answers `response`.
async fn answer<B: Body>(
    pipeline: &CapturingPipeline,
    request: Request<Empty<Bytes>>,
    response: Response<B>,
) -> Response<impl Body> {
    let mut response = Some(response);
    let service = service_fn(move |_| std::future::ready(response.take().ok_or("called twice")));
    let service = ServiceBuilder::new().layer(pipeline.metrics_layer(Routes::new())).service(service);
    service.oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_whole_answer_counts_with_its_status() {
    let pipeline = CapturingPipeline::new();
    let response = Response::builder().status(503).body(Full::new(Bytes::from("later"))).unwrap();
    let response = answer(&pipeline, request("/v1/inference/embeddings"), response).await;
    assert!(response.into_body().collect().await.is_ok());
    assert_eq!(pipeline.into_metrics(), one_request("inference", 503));
}

#[tokio::test]
async fn a_streamed_answer_ends_with_its_last_byte() {
    let pipeline = CapturingPipeline::new();
    let stream = frames(vec![Ok("data: a\n\n"), Ok("data: b\n\n")]);
    let mut body = answer(&pipeline, request("/v1/inference/chat"), Response::new(stream)).await.into_body();
    assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
    pipeline.telemetry().flush(telemetry_testkit::DEADLINE).await;
    assert_eq!(pipeline.seen.signals().len(), 1, "only its start is recorded");
    while body.frame().await.is_some() {}
    drop(body);
    assert_eq!(pipeline.into_metrics(), one_request("inference", 200));
}

#[tokio::test]
async fn a_client_that_leaves_counts_as_499() {
    let pipeline = CapturingPipeline::new();
    let stream = frames(vec![Ok("data: a\n\n"), Ok("data: b\n\n")]);
    let mut body = answer(&pipeline, request("/v1/inference/chat"), Response::new(stream)).await.into_body();
    assert!(body.frame().await.is_some());
    drop(body);
    assert_eq!(pipeline.into_metrics(), one_request("inference", 499));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_counts_as_499() {
    let pipeline = CapturingPipeline::new();
    let never = service_fn(async |_: Request<Empty<Bytes>>| {
        pending::<Result<Response<Empty<Bytes>>, Infallible>>().await
    });
    let service = ServiceBuilder::new().layer(pipeline.metrics_layer(Routes::new())).service(never);
    let call = service.oneshot(request("/v1/agents"));
    assert!(call.now_or_never().is_none(), "dropped before its answer");
    assert_eq!(pipeline.into_metrics(), one_request("agents", 499));
}

#[tokio::test]
async fn a_body_that_breaks_off_counts_as_500() {
    let pipeline = CapturingPipeline::new();
    let stream = frames(vec![Ok("data: a\n\n"), Err(io::ErrorKind::BrokenPipe.into())]);
    let response = answer(&pipeline, request("/v1/inference/chat"), Response::new(stream)).await;
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(pipeline.into_metrics(), one_request("inference", 500));
}

#[tokio::test]
async fn an_error_of_the_service_counts_as_500() {
    let pipeline = CapturingPipeline::new();
    let failing = service_fn(async |_: Request<Empty<Bytes>>| Err::<Response<Empty<Bytes>>, _>("no backend"));
    let service = ServiceBuilder::new().layer(pipeline.metrics_layer(Routes::new())).service(failing);
    assert_eq!(service.oneshot(request("/v1/safety")).await.err(), Some("no backend"));
    assert_eq!(pipeline.into_metrics(), one_request("safety", 500));
}

#[tokio::test]
async fn a_panic_counts_as_500_even_if_it_is_caught() {
    let pipeline = CapturingPipeline::new();
    let panicking =
        service_fn(async |_: Request<Empty<Bytes>>| -> Result<Response<Empty<Bytes>>, Infallible> {
            panic!("a bug of the handler")
        });
    let service = ServiceBuilder::new().layer(pipeline.metrics_layer(Routes::new())).service(panicking);
    let call = AssertUnwindSafe(service.oneshot(request("/v1/safety"))).catch_unwind();
    assert!(call.await.is_err());
    assert_eq!(pipeline.into_metrics(), one_request("safety", 500));
}

#[tokio::test]
async fn a_panic_in_the_body_counts_as_500() {
    let pipeline = CapturingPipeline::new();
    let bug = stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("a bug of the stream")
    });
    let response =
        answer(&pipeline, request("/v1/inference/chat"), Response::new(StreamBody::new(bug))).await;
    assert!(AssertUnwindSafe(response.into_body().collect()).catch_unwind().await.is_err());
    assert_eq!(pipeline.into_metrics(), one_request("inference", 500));
}

/// A server drops a body after the announced number of bytes, and never polls a body of length zero.
#[tokio::test]
async fn a_body_is_complete_after_its_announced_length() {
    let known = |length: &str| Response::builder().header(CONTENT_LENGTH, length);
    let pipeline = CapturingPipeline::new();
    let response = known("9").body(frames(vec![Ok("data: a\n\n"), Ok("")])).unwrap();
    let mut body = answer(&pipeline, request("/v1/files"), response).await.into_body();
    assert!(body.frame().await.is_some());
    drop(body);
    let head = Request::builder().method(Method::HEAD).uri("/v1/files").body(Empty::new()).unwrap();
    drop(answer(&pipeline, head, known("9").body(frames(vec![Ok("")])).unwrap()).await);
    let nothing = Response::builder().status(StatusCode::NO_CONTENT).body(frames(Vec::new())).unwrap();
    drop(answer(&pipeline, request("/v1/files"), nothing).await);
    drop(answer(&pipeline, request("/v1/files"), known("0").body(frames(Vec::new())).unwrap()).await);
    let expected = [
        one_request("files", 200),
        one_request("files", 200),
        one_request("files", 204),
        one_request("files", 200),
    ];
    assert_eq!(pipeline.into_metrics(), expected.concat());
}

#[tokio::test]
async fn requests_at_the_same_time_are_counted_up_and_down() {
    let pipeline = CapturingPipeline::new();
    let layer = pipeline.metrics_layer(Routes::new());
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
    let mut metrics = pipeline.into_metrics();
    metrics.retain(|line| line.starts_with("concurrent"));
    assert_eq!(
        metrics.join(" "),
        [1, 2, 1, 0].map(|count| format!("concurrent{{api=agents}} {count}")).join(" ")
    );
}

#[tokio::test]
async fn a_scan_counts_as_unknown() {
    let pipeline = CapturingPipeline::new();
    let missing = || Response::builder().status(404).body(Empty::<Bytes>::new()).unwrap();
    drop(answer(&pipeline, request("/wp-login.php"), missing()).await);
    let metrics = pipeline.into_metrics();
    assert_eq!(metrics[1..3], one_request("unknown", 404)[1..3]);
}

#[tokio::test]
async fn excluded_requests_and_those_without_telemetry_pass_through() {
    let pipeline = CapturingPipeline::new();
    drop(
        answer(&pipeline, request("/docs/index.html"), Response::new(Full::new(Bytes::from("read me"))))
            .await,
    );
    assert!(pipeline.into_metrics().is_empty());

    let layer = RequestMetricsLayer::new(Telemetry::disabled(), Routes::new());
    let hello = service_fn(async |_: Request<Empty<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
    });
    let response = ServiceBuilder::new().layer(layer).service(hello).oneshot(request("/")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
}
