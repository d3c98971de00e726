//! The request's span, and the trace it belongs to.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, response};
use telemetry_core::{SpanKind, Text, Value};
use telemetry_pipeline::{Entered, SpanGuard, Telemetry, TraceParent};
use tower_layer::Layer;

use crate::in_flight::{CANCELLED, FAILED, InFlight, Watch};
use crate::service::Watcher;
use crate::{RequestHead, Routes, Watched};

static X_TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// Opens a span for every request of a service.
///
/// - A W3C `traceparent` is continued; without one, a new trace begins.
/// - The span is the [current one](telemetry_pipeline::current_span) while the request's own future and
///   the body of its answer run, and in nobody else's: what the handler logs belongs to it. Tasks that
///   the handler spawns take it along with
///   [`in_current_span`](telemetry_pipeline::FutureExt::in_current_span).
/// - A [`SpanHandle`](telemetry_pipeline::SpanHandle) on it is an extension of the request, with which the
///   handler sets attributes and fails the span; without a span, it is a handle on none.
/// - The answer carries the trace's id in `x-trace-id`.
/// - The span ends with the last byte of the answer; as failed if the service failed or panicked, the
///   answer is a 5xx, or the client left before.
///
/// Its name is the method and the route (`POST /v1/chat/completions`), its kind is server, its attributes are
/// those of OpenTelemetry's HTTP conventions; of a failed one, `error.type` is the status as
/// [`RequestMetricsLayer`](crate::RequestMetricsLayer) counts it. Without a table or function of routes the name is the method
/// alone, as the conventions demand: paths are no names.
///
/// Where telemetry is disabled or no sink wants spans, requests are passed through.
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

/// What the services of a layer share.
#[derive(Debug)]
pub(crate) struct Tracer {
    telemetry: Telemetry,
    routes: Routes,
}

/// A request that is being traced.
#[derive(Debug)]
pub(crate) struct TracedRequest(SpanGuard);

impl RequestSpanLayer {
    /// Opens spans for the requests that `routes` names.
    pub fn new(telemetry: Telemetry, routes: Routes) -> Self {
        Self(Arc::new(Tracer { telemetry, routes }))
    }
}

impl<S> Layer<S> for RequestSpanLayer {
    type Service = Watched<S>;

    fn layer(&self, service: S) -> Watched<S> {
        Watched::new(service, Watcher::Tracer(Arc::clone(&self.0)))
    }
}

impl Tracer {
    /// Opens the request's span, if it is traced, and gives the handler a handle on the span it is in.
    pub(crate) fn watch<A>(&self, request: &mut Request<A>) -> Option<InFlight> {
        let span = self.open(request);
        let handle = span.as_ref().map_or_else(|| self.telemetry.current(), SpanGuard::handle);
        request.extensions_mut().insert(handle);
        let watch = Watch::Span(TracedRequest(span?));
        Some(InFlight::new(watch, request.method(), request.headers()))
    }

    fn open<A>(&self, request: &Request<A>) -> Option<SpanGuard> {
        if self.telemetry.interest().is_empty() {
            return None;
        }
        let found = self.routes.find(&RequestHead::of(request))?;
        let (method, headers) = (request.method(), request.headers());
        let name = match &found.template {
            Some(template) => format!("{method} {template}"),
            None => method.to_string(),
        };
        let mut attributes: Vec<(Text, Value)> = Vec::with_capacity(6);
        let mut put = |key: &'static str, value: Value| attributes.push((Text::Borrowed(key), value));
        put("http.request.method", method.to_string().into());
        put("url.path", request.uri().path().to_owned().into());
        if let Some(template) = found.template {
            put("http.route", template.into());
        }
        if let Some(agent) = text(headers, "user-agent") {
            put("user_agent.original", agent.to_owned().into());
        }
        let remote = text(headers, "traceparent").map(|header| (header, header.parse::<TraceParent>()));
        let remote = match remote {
            Some((_, Ok(remote))) => {
                // Several headers are one list (W3C Trace Context, section 3.3).
                let states = headers.get_all("tracestate").iter().filter_map(|state| state.to_str().ok());
                let state = states.collect::<Vec<_>>().join(",");
                if !state.is_empty() {
                    put("tracestate", state.into());
                }
                Some(remote)
            }
            // Kept as it is, so that the pipeline counts it.
            Some((header, Err(_))) => {
                put("traceparent", header.to_owned().into());
                None
            }
            None => None,
        };
        let span = self.telemetry.span_builder(name, attributes.into()).with_kind(SpanKind::Server);
        Some(match remote {
            Some(remote) => span.with_remote_parent(remote).start(),
            None => span.start(),
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

impl TracedRequest {
    pub(crate) fn enter(&self) -> Entered {
        self.0.enter()
    }

    /// Notes the status that was sent, and tells the client which trace this was.
    pub(crate) fn answered(&mut self, head: &mut response::Parts) {
        self.0.set_attribute("http.response.status_code", head.status.as_u16());
        if let Ok(value) = HeaderValue::from_str(&self.0.key().trace_id.to_string()) {
            head.headers.insert(X_TRACE_ID.clone(), value);
        }
    }

    /// Notes the status of a gRPC call.
    pub(crate) fn note_grpc_status(&mut self, code: &str) {
        if let Ok(code) = code.parse::<u8>() {
            self.0.set_attribute("rpc.grpc.status_code", code);
        }
    }

    /// Ends the span; `status` says how it went, whatever was sent before.
    pub(crate) fn ended(self, status: u16) {
        let Self(mut span) = self;
        if status == CANCELLED || status >= FAILED {
            span.fail();
            span.set_attribute("error.type", status.to_string());
        }
    }
}
