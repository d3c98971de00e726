//! The request's span, and the trace it belongs to.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, response};
use http_body::Body;
use telemetry_core::{Attributes, Text, Value};
use telemetry_pipeline::{Entered, SpanGuard, Telemetry, TraceParent};
use tower_layer::Layer;
use tower_service::Service;

use crate::in_flight::{CANCELLED, FAILED, InFlight, Watch};
use crate::routes::Found;
use crate::{RequestHead, ResponseBody, ResponseFuture, Routes};

static X_TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// Opens a span for every request of a service.
///
/// - A W3C `traceparent` is continued; without one, a new trace begins.
/// - The span is the [current one](telemetry_pipeline::current_span) while the request's own future and
///   the body of its answer run, and in nobody else's: what the handler logs belongs to it. Tasks that
///   the handler spawns take it along with
///   [`in_current_span`](telemetry_pipeline::FutureExt::in_current_span).
/// - The answer carries the trace's id in `x-trace-id`.
/// - The span ends with the last byte of the answer; as failed if the service failed or panicked, the
///   answer is a 5xx, or the client left before.
///
/// Its name is the method and the route (`POST /v1/chat/completions`), its attributes are those of
/// OpenTelemetry's HTTP conventions; of a failed one, `error.type` is the status as
/// [`RequestMetricsLayer`](crate::RequestMetricsLayer) counts it. Without a table or function of routes the name is the method
/// alone, as the conventions demand: paths are no names.
///
/// Where telemetry is disabled or no sink wants spans, requests are passed through.
#[derive(Clone, Debug)]
pub struct RequestSpanLayer(Arc<Shared>);

/// A service whose requests have spans; see [`RequestSpanLayer`].
#[derive(Clone, Debug)]
pub struct RequestSpan<S> {
    service: S,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    telemetry: Telemetry,
    routes: Routes,
}

/// A request that is being traced.
#[derive(Debug)]
pub(crate) struct TracedRequest(SpanGuard);

impl RequestSpanLayer {
    /// Opens spans for the requests that `routes` names.
    pub fn new(telemetry: Telemetry, routes: Routes) -> Self {
        Self(Arc::new(Shared { telemetry, routes }))
    }
}

impl<S> Layer<S> for RequestSpanLayer {
    type Service = RequestSpan<S>;

    fn layer(&self, service: S) -> RequestSpan<S> {
        RequestSpan { service, shared: Arc::clone(&self.0) }
    }
}

impl<S, A, B> Service<Request<A>> for RequestSpan<S>
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

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let watched = self.shared.watch(&request);
        ResponseFuture::call(&mut self.service, request, watched)
    }
}

impl Shared {
    fn watch<A>(&self, request: &Request<A>) -> Option<InFlight> {
        if self.telemetry.interest().is_empty() {
            return None;
        }
        let found = self.routes.find(&RequestHead::of(request))?;
        let span = TracedRequest(self.open(request, found));
        Some(InFlight::new(Watch::Span(span), request.method(), request.headers()))
    }

    fn open<A>(&self, request: &Request<A>, found: Found) -> SpanGuard {
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
        match remote {
            Some((_, Ok(remote))) => {
                // Several headers are one list (W3C Trace Context, section 3.3).
                let states = headers.get_all("tracestate").iter().filter_map(|state| state.to_str().ok());
                let state = states.collect::<Vec<_>>().join(",");
                if !state.is_empty() {
                    put("tracestate", state.into());
                }
                self.telemetry.continue_trace(remote, name, attributes.into())
            }
            // Kept as it is, so that the pipeline counts it.
            Some((header, Err(_))) => {
                put("traceparent", header.to_owned().into());
                self.telemetry.span(name, attributes.into())
            }
            None => self.telemetry.span(name, Attributes::from(attributes)),
        }
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
        if let Ok(value) = HeaderValue::from_str(&self.0.context().trace_id.to_string()) {
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
