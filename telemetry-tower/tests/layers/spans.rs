//! The span of a request: its parent, what belongs to it, and how it ends.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use telemetry_core::{Event, Severity, Signal, Span, SpanKind, SpanStatus};
use telemetry_pipeline::current_span;
use telemetry_tower::Routes;
use tower::util::BoxCloneService;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::support::CapturingPipeline;

type TestService = BoxCloneService<Request<Empty<Bytes>>, Response<BoxBody<Bytes, Infallible>>, Infallible>;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Returns a service that logs the request's path twice, yields in between, and answers `status`.
fn service(pipeline: &CapturingPipeline, status: u16) -> TestService {
    let telemetry = pipeline.telemetry();
    let routes = Routes::new().route("/v1/models/{model_id}", "models");
    let handler = service_fn(move |request: Request<Empty<Bytes>>| {
        let telemetry = telemetry.clone();
        async move {
            telemetry.log_event(Event::log(Severity::Info, request.uri().path().to_owned()));
            tokio::task::yield_now().await;
            telemetry.log_event(Event::log(Severity::Info, request.uri().path().to_owned()));
            let response = Response::builder().status(status).body(Full::new(Bytes::from("hello")));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    ServiceBuilder::new()
        .layer(BoxCloneService::layer())
        .map_response(|response: Response<_>| response.map(BodyExt::boxed))
        .layer(pipeline.span_layer(routes.clone()))
        .layer(pipeline.metrics_layer(routes))
        .service(handler)
}

fn ended(signals: &[Signal]) -> Vec<Arc<Span>> {
    let ended = |signal: &Signal| match signal {
        Signal::SpanEnded(span) => Some(Arc::clone(span)),
        _ => None,
    };
    signals.iter().filter_map(ended).collect()
}

#[tokio::test]
async fn a_remote_trace_is_continued_and_returned_to_the_client() {
    let pipeline = CapturingPipeline::new();
    let request = Request::get("/v1/models/llama")
        .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
        .header("tracestate", "vendor=1")
        .header("tracestate", "other=2")
        .header("user-agent", "curl/8")
        .body(Empty::new())
        .unwrap();
    let response = service(&pipeline, 200).oneshot(request).await.unwrap();
    assert_eq!(response.headers()["x-trace-id"], TRACE);
    assert!(response.into_body().collect().await.is_ok());
    let spans = ended(&pipeline.into_signals());
    let [span] = spans.as_slice() else { panic!("one span: {spans:?}") };
    assert_eq!(span.name, "GET /v1/models/{model_id}");
    assert_eq!(span.trace_id.to_string(), TRACE);
    assert_eq!(span.parent_span_id.unwrap().to_string(), "b7ad6b7169203331");
    assert_eq!(span.trace_state.as_deref(), Some("vendor=1,other=2"));
    assert!(span.local_root);
    assert_eq!(span.kind, SpanKind::Server);
    assert_eq!(span.status, Some(SpanStatus::Ok));
    assert_eq!(
        span.attributes.to_json(),
        r#"{"http.request.method":"GET","url.path":"/v1/models/llama","http.route":"/v1/models/{model_id}","user_agent.original":"curl/8","http.response.status_code":200}"#
    );
    assert_eq!(span.events.len(), 2 + 4, "two logs and four metrics belong to it");
}

#[tokio::test]
async fn an_invalid_traceparent_is_counted_and_a_new_trace_begins() {
    let pipeline = CapturingPipeline::new();
    let request =
        Request::get("/v1/models/llama").header("traceparent", "00-me-and-you").body(Empty::new()).unwrap();
    let response = service(&pipeline, 200).oneshot(request).await.unwrap();
    let trace = response.headers()["x-trace-id"].to_str().unwrap().to_owned();
    drop(response);
    let telemetry = pipeline.telemetry();
    let spans = ended(&pipeline.into_signals());
    assert_eq!(spans[0].trace_id.to_string(), trace);
    assert_eq!(spans[0].parent_span_id, None);
    assert_eq!(telemetry.ledger().assembler.invalid_traceparent, 1);
}

#[tokio::test]
async fn a_failed_or_abandoned_request_fails_its_span() {
    let pipeline = CapturingPipeline::new();
    let request = || Request::get("/v1/models/llama").body(Empty::new()).unwrap();
    let failed = service(&pipeline, 503).oneshot(request()).await.unwrap();
    assert!(failed.into_body().collect().await.is_ok());
    drop(service(&pipeline, 200).oneshot(request()).await.unwrap());
    let refused = service(&pipeline, 404).oneshot(request()).await.unwrap();
    assert!(refused.into_body().collect().await.is_ok());
    let ends: Vec<_> = ended(&pipeline.into_signals())
        .iter()
        .map(|span| (span.status.unwrap(), span.attributes.get("error.type").map(ToString::to_string)))
        .collect();
    assert_eq!(
        ends,
        [
            (SpanStatus::Error, Some("503".to_owned())),
            (SpanStatus::Error, Some("499".to_owned())),
            (SpanStatus::Ok, None)
        ]
    );
}

#[tokio::test]
async fn a_thousand_interleaved_requests_share_nothing() {
    let pipeline = CapturingPipeline::new();
    let service = service(&pipeline, 200);
    let requests = (0..1_000).map(|number| {
        let request = Request::get(format!("/v1/models/{number}")).body(Empty::new()).unwrap();
        let service = service.clone();
        async move {
            let response = service.oneshot(request).await.unwrap();
            response.into_body().collect().await.is_ok()
        }
    });
    assert!(join_all(requests).await.into_iter().all(|complete| complete));
    assert_eq!(current_span(), None);
    let signals = pipeline.into_signals();
    let spans = ended(&signals);
    assert_eq!(spans.len(), 1_000);
    for span in spans {
        let path = span.attributes.get("url.path").and_then(|path| path.as_str()).unwrap().to_owned();
        let messages: Vec<_> = signals
            .iter()
            .filter_map(|signal| match signal {
                Signal::Log(log) if log.context.span_key() == Some(span.key()) => {
                    Some(format!("{:?}", log.body))
                }
                _ => None,
            })
            .collect();
        assert_eq!(messages.len(), 2, "{path}");
        assert!(
            messages.iter().all(|message| message.contains(&format!("{path:?}"))),
            "{path}: {messages:?}"
        );
    }
}
