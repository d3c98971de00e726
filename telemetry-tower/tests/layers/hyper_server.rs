//! The layers around a service of plain hyper, over a real socket.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use telemetry_tower::Routes;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};

use crate::stage::{Stage, ask, one_request};

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_hyper_server_is_measured() {
    let stage = Stage::new();
    let hello = service_fn(async |_: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
    });
    let service = ServiceBuilder::new()
        .layer(stage.span_layer(Routes::new()))
        .layer(stage.metrics_layer(Routes::new()))
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
    stage.wait_for_requests(1);
    assert_eq!(stage.into_metrics(), one_request("inference", 200));
}
