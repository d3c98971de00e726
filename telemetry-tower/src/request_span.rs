//! The span of a request, and the trace it belongs to.

use http::{HeaderMap, HeaderName, HeaderValue, Request, response};
use telemetry_core::{SpanKind, Text, Value};
use telemetry_pipeline::{Entered, SpanGuard, Telemetry, TraceParent};

use crate::routes::{RequestHead, Routes};
use crate::status::{CANCELLED, FAILED};

static X_TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// Traces the requests of all services of a layer.
#[derive(Debug)]
pub(crate) struct Tracer {
    telemetry: Telemetry,
    routes: Routes,
}

/// A request that is being traced.
#[derive(Debug)]
pub(crate) struct TracedRequest(SpanGuard);

impl Tracer {
    pub(crate) const fn new(telemetry: Telemetry, routes: Routes) -> Self {
        Self { telemetry, routes }
    }

    /// Starts the span of a request and adds a handle to the request's extensions. Returns `None` for a request that is
    /// not traced. Its handle is that of the current span.
    pub(crate) fn start<A>(&self, request: &mut Request<A>) -> Option<TracedRequest> {
        let span = self.start_span(request);
        let handle = span.as_ref().map_or_else(|| self.telemetry.current(), SpanGuard::handle);
        request.extensions_mut().insert(handle);
        span.map(TracedRequest)
    }

    fn start_span<A>(&self, request: &Request<A>) -> Option<SpanGuard> {
        if self.telemetry.interest().is_empty() {
            return None;
        }
        let found = self.routes.name(&RequestHead::of(request))?;
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
                // Several headers form one list (W3C Trace Context, section 3.3).
                let states = headers.get_all("tracestate").iter().filter_map(|state| state.to_str().ok());
                let state = states.collect::<Vec<_>>().join(",");
                if !state.is_empty() {
                    put("tracestate", state.into());
                }
                Some(remote)
            }
            // Passed on unchanged, so that the pipeline counts it.
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

    /// Records the status of the answer, and adds the trace's id to the answer's headers.
    pub(crate) fn record_head(&mut self, head: &mut response::Parts) {
        self.0.set_attribute("http.response.status_code", head.status.as_u16());
        if let Ok(value) = HeaderValue::from_str(&self.0.key().trace_id.to_string()) {
            head.headers.insert(X_TRACE_ID.clone(), value);
        }
    }

    /// Records the status of a gRPC call.
    pub(crate) fn record_grpc_status(&mut self, code: &str) {
        if let Ok(code) = code.parse::<u8>() {
            self.0.set_attribute("rpc.grpc.status_code", code);
        }
    }

    /// Ends the span. It has failed if `status` says so, whatever the head of the answer said before.
    pub(crate) fn end(self, status: u16) {
        let Self(mut span) = self;
        if status == CANCELLED || status >= FAILED {
            span.fail();
            span.set_attribute("error.type", status.to_string());
        }
    }
}
