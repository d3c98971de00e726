//! The layers around a plain hyper service, over a real socket.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use telemetry_core::{SpanKind, Value};
use telemetry_pipeline::SpanHandle;
use telemetry_tower::Routes;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};

use crate::support::{CapturingPipeline, ask, one_request};

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_hyper_server_is_measured_and_its_requests_have_spans() {
    let pipeline = CapturingPipeline::new();
    let hello = service_fn(async |request: Request<Incoming>| {
        request.extensions().get::<SpanHandle>().unwrap().set_attribute("greeting", "hello");
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
    });
    let service = ServiceBuilder::new()
        .layer(pipeline.span_layer(Routes::new()))
        .layer(pipeline.metrics_layer(Routes::new()))
        .service(hello);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (connection, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(service);
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service).await
    });
    let answer = ask(address, "GET /v1/inference/hello").await;
    assert!(answer.contains("x-trace-id: ") && answer.ends_with("hello"), "{answer}");
    pipeline.wait_for_requests(1);
    let seen = pipeline.seen.clone();
    assert_eq!(pipeline.into_metrics(), one_request("inference", 200));
    let spans = seen.ended_spans();
    let [span] = spans.as_slice() else { panic!("one span: {spans:?}") };
    assert_eq!((span.kind, span.attributes.get("greeting")), (SpanKind::Server, Some(&Value::from("hello"))));
}
