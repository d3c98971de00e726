//! A request from its arrival to the end of its answer.

use http::{HeaderMap, Method, Request, StatusCode, response};
use telemetry_pipeline::Entered;

use crate::request_metrics::MeasuredRequest;
use crate::request_span::TracedRequest;
use crate::status::{CANCELLED, FAILED, http_status_of_grpc};

/// What a layer records of one request.
#[derive(Debug)]
pub(crate) enum Recording {
    Metrics(MeasuredRequest),
    Span(TracedRequest),
}

/// A request that has not ended. It ends exactly once: by [`InFlight::end`] or when it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    recording: Option<Recording>,
    is_head: bool,
    is_grpc: bool,
    /// The status of the answer so far.
    status: u16,
    /// True while code of the service runs. If this is dropped meanwhile, that code has panicked.
    running: bool,
}

impl InFlight {
    pub(crate) fn new<B>(recording: Recording, request: &Request<B>) -> Self {
        let content_type = request.headers().get(http::header::CONTENT_TYPE);
        let is_grpc = content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        Self {
            recording: Some(recording),
            is_head: request.method() == Method::HEAD,
            is_grpc,
            status: CANCELLED,
            running: false,
        }
    }

    /// Runs code of the service within the request's span.
    pub(crate) fn run<T>(&mut self, code: impl FnOnce() -> T) -> T {
        self.running = true;
        let entered = self.enter();
        let outcome = code();
        drop(entered);
        self.running = false;
        outcome
    }

    /// Makes the request's span the current one.
    pub(crate) fn enter(&self) -> Option<Entered> {
        match &self.recording {
            Some(Recording::Span(request)) => Some(request.enter()),
            Some(Recording::Metrics(_)) | None => None,
        }
    }

    /// Records the head of the answer. Returns true if no body will follow.
    pub(crate) fn record_head(&mut self, head: &mut response::Parts) -> bool {
        self.status = head.status.as_u16();
        if let Some(Recording::Span(request)) = &mut self.recording {
            request.record_head(head);
        }
        self.record_grpc_status(&head.headers);
        self.is_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    /// Records the status of a gRPC call if it is among these headers or trailers.
    pub(crate) fn record_grpc_status(&mut self, headers: &HeaderMap) {
        if self.is_grpc
            && let Some(code) = headers.get("grpc-status").and_then(|code| code.to_str().ok())
        {
            self.status = http_status_of_grpc(code);
            if let Some(Recording::Span(request)) = &mut self.recording {
                request.record_grpc_status(code);
            }
        }
    }

    /// Ends the request with the status of its answer.
    pub(crate) fn end(self) {
        let status = self.status;
        self.end_with(status);
    }

    /// Ends the request with another status.
    pub(crate) fn end_with(mut self, status: u16) {
        self.finish(status);
    }

    fn finish(&mut self, status: u16) {
        match self.recording.take() {
            Some(Recording::Metrics(request)) => request.end(status),
            Some(Recording::Span(request)) => request.end(status),
            None => {}
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.finish(if self.running { FAILED } else { CANCELLED });
    }
}
