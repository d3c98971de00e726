//! The layers, and the service that they create.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use telemetry_pipeline::Telemetry;
use tower_layer::Layer;
use tower_service::Service;

use crate::in_flight::{InFlight, Recording};
use crate::request_metrics::Meter;
use crate::request_span::Tracer;
use crate::response::{ResponseBody, ResponseFuture};
use crate::routes::Routes;

/// Measures every request of a service. It logs three of Llama Stack's six metrics:
///
/// | Metric | Unit | Labels | When |
/// |---|---|---|---|
/// | `llama_stack_requests_total` | `requests` | `api`, `status` | 1 at the end |
/// | `llama_stack_request_duration_seconds` | `seconds` | `api`, `status` | at the end |
/// | `llama_stack_concurrent_requests` | `requests` | `api` | at the start and at the end |
///
/// The [crate's documentation](crate) lists the statuses.
///
/// If telemetry is disabled or no sink takes metrics, requests pass through.
///
/// The metrics belong to the current span. To connect them to the request's span, put this layer inside a
/// [`RequestSpanLayer`], as the [crate's example](crate) does.
#[derive(Clone, Debug)]
pub struct RequestMetricsLayer(Arc<Meter>);

impl RequestMetricsLayer {
    /// Measures the requests that `routes` does not exclude. All services of this layer and its clones count together.
    pub fn new(telemetry: Telemetry, routes: Routes) -> Self {
        Self(Arc::new(Meter::new(telemetry, routes)))
    }
}

impl<S> Layer<S> for RequestMetricsLayer {
    type Service = WatchedService<S>;

    fn layer(&self, service: S) -> WatchedService<S> {
        WatchedService { service, watcher: Watcher::Meter(Arc::clone(&self.0)) }
    }
}

/// Starts a span for every request of a service.
///
/// - A request with a W3C `traceparent` continues the caller's trace. Any other starts a new trace.
/// - The span is the [current one](telemetry_pipeline::current_span) while the request's future or the body of its
///   answer runs, so what the handler logs belongs to it. For tasks that the handler spawns, use
///   [`in_current_span`](telemetry_pipeline::FutureExt::in_current_span).
/// - The request has an extension of type [`SpanHandle`](telemetry_pipeline::SpanHandle). With it, the handler sets
///   attributes of the span or fails it. If there is no span, the handle does nothing.
/// - The answer has the trace's id in the header `x-trace-id`.
/// - The span ends with the last byte of the answer. It fails if the service failed or panicked, the answer is a 5xx, or
///   the client left before.
///
/// The span's kind is server, and its name is the method and the route, such as `POST /v1/chat/completions`. Without a
/// known route, the name is the method alone. Its attributes are those of OpenTelemetry's HTTP conventions. If it fails,
/// `error.type` is the status that [`RequestMetricsLayer`] counts.
///
/// If telemetry is disabled or no sink takes signals, requests pass through.
///
/// ```
/// use axum::routing::post;
/// use axum::{Extension, Router};
/// use telemetry_pipeline::SpanHandle;
/// use telemetry_tower::{RequestSpanLayer, Routes};
/// # use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec};
/// # use telemetry_testkit::{CaptureSink, READY_MADE, ready_made};
/// # use tower::ServiceExt as _;
/// # let (sink, seen) = CaptureSink::new();
/// # let sinks = vec![SinkSpec { entry: &READY_MADE, context: ready_made(sink.built()) }];
/// # let pipeline = Pipeline::start(sinks, PipelineConfig::default())?;
/// # let telemetry = pipeline.telemetry();
///
/// async fn chat(Extension(span): Extension<SpanHandle>) -> &'static str {
///     span.set_attribute("model_id", "llama");
///     "hello"
/// }
///
/// let app: Router = Router::new()
///     .route("/v1/chat/completions", post(chat))
///     .layer(RequestSpanLayer::new(telemetry, Routes::new().route("/v1/chat/completions", "inference")));
/// # let request = http::Request::post("/v1/chat/completions").body(axum::body::Body::empty())?;
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # let answer = runtime.block_on(app.oneshot(request))?;
/// # runtime.block_on(axum::body::to_bytes(answer.into_body(), 9))?;
/// # pipeline.shutdown(std::time::Duration::from_secs(10));
///
/// // After `POST /v1/chat/completions`:
/// let span = &seen.ended_spans()[0];
/// assert_eq!(span.kind.as_str(), "server");
/// assert_eq!(span.attributes.get("model_id").and_then(|id| id.as_str()), Some("llama"));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RequestSpanLayer(Arc<Tracer>);

impl RequestSpanLayer {
    /// Starts spans for the requests that `routes` does not exclude.
    pub fn new(telemetry: Telemetry, routes: Routes) -> Self {
        Self(Arc::new(Tracer::new(telemetry, routes)))
    }
}

impl<S> Layer<S> for RequestSpanLayer {
    type Service = WatchedService<S>;

    fn layer(&self, service: S) -> WatchedService<S> {
        WatchedService { service, watcher: Watcher::Tracer(Arc::clone(&self.0)) }
    }
}

/// A service whose requests are measured by a [`RequestMetricsLayer`] or traced by a [`RequestSpanLayer`].
#[derive(Clone, Debug)]
pub struct WatchedService<S> {
    service: S,
    watcher: Watcher,
}

#[derive(Clone, Debug)]
enum Watcher {
    Meter(Arc<Meter>),
    Tracer(Arc<Tracer>),
}

impl Watcher {
    fn start<A>(&self, request: &mut Request<A>) -> Option<InFlight> {
        let recording = match self {
            Self::Meter(meter) => meter.start(request).map(Recording::Metrics),
            Self::Tracer(tracer) => tracer.start(request).map(Recording::Span),
        };
        Some(InFlight::new(recording?, request))
    }
}

impl<S, A, B> Service<Request<A>> for WatchedService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let in_flight = self.watcher.start(&mut request);
        ResponseFuture::call(&mut self.service, request, in_flight)
    }
}
