//! The layers in a tonic server with a tonic client. The status of a gRPC call is in its trailers.

use std::sync::Arc;

use telemetry_core::{Span, SpanKind, SpanStatus};
use telemetry_tower::Routes;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{CapturingPipeline, one_request};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_call_counts_with_the_corresponding_http_status() {
    let pipeline = CapturingPipeline::new();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .layer(pipeline.span_layer(Routes::new()))
        .layer(pipeline.metrics_layer(Routes::new()))
        .add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = HealthClient::new(channel);
    let mut continued = tonic::Request::new(HealthCheckRequest { service: String::new() });
    continued
        .metadata_mut()
        .insert("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01").parse().unwrap());
    let answer = client.check(continued).await.unwrap();
    assert_eq!(answer.metadata().get("x-trace-id").unwrap(), TRACE);
    let refused = client.check(HealthCheckRequest { service: "nobody".to_owned() }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound);

    // A stream that ends only when the client drops it.
    let mut watching =
        client.watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert!(watching.message().await.unwrap().is_some());
    drop(watching);

    pipeline.wait_for_requests(3);
    let api = "grpc.health.v1.Health";
    let seen = pipeline.seen.clone();
    let expected = [one_request(api, 200), one_request(api, 404), one_request(api, 499)];
    assert_eq!(pipeline.into_metrics(), expected.concat());
    let code = |span: &Arc<Span>| span.attributes.get("rpc.grpc.status_code").map(ToString::to_string);
    let mut codes: Vec<_> = seen.ended_spans().iter().filter_map(code).collect();
    codes.sort();
    assert_eq!(codes, ["0", "5"], "the two calls that were answered");
    assert!(seen.ended_spans().iter().all(|span| span.kind == SpanKind::Server));
    let is_continued = |span: &&Arc<Span>| span.trace_id.to_string() == TRACE;
    let spans = seen.ended_spans();
    let continued: Vec<_> =
        spans.iter().filter(is_continued).map(|span| (span.local_root, span.status)).collect();
    assert_eq!(continued, [(true, Some(SpanStatus::Ok))]);
}
