//! A watched request, from its arrival to the end of its answer.

use http::{HeaderMap, Method, StatusCode, response};
use telemetry_pipeline::Entered;

use crate::metrics::MeasuredRequest;
use crate::span::TracedRequest;

/// What is told how a request went.
#[derive(Debug)]
pub(crate) enum Watch {
    Metrics(MeasuredRequest),
    Span(TracedRequest),
}

/// A request that has not ended. It ends once: by [`InFlight::end`], or when it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    watch: Option<Watch>,
    is_head: bool,
    is_grpc: bool,
    /// The status of the answer so far.
    status: u16,
    /// Whether code of the service is running. Still set when this is dropped: that code has panicked.
    running: bool,
}

/// The client left before the answer was complete (the code that nginx uses).
pub(crate) const CANCELLED: u16 = 499;
/// The service failed: an error, a panic, or a body that broke off.
pub(crate) const FAILED: u16 = 500;

impl InFlight {
    pub(crate) fn new(watch: Watch, method: &Method, headers: &HeaderMap) -> Self {
        let content_type = headers.get(http::header::CONTENT_TYPE);
        let is_grpc = content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        Self {
            watch: Some(watch),
            is_head: method == Method::HEAD,
            is_grpc,
            status: CANCELLED,
            running: false,
        }
    }

    /// Runs code of the service, within the request's span.
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
        match &self.watch {
            Some(Watch::Span(request)) => Some(request.enter()),
            Some(Watch::Metrics(_)) | None => None,
        }
    }

    /// Notes the head of the answer. Says whether no body will follow.
    pub(crate) fn answer(&mut self, head: &mut response::Parts) -> bool {
        self.status = head.status.as_u16();
        if let Some(Watch::Span(request)) = &mut self.watch {
            request.answered(head);
        }
        self.note_grpc_status(&head.headers);
        self.is_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    /// Takes the status of a gRPC call from headers or trailers.
    pub(crate) fn note_grpc_status(&mut self, headers: &HeaderMap) {
        if self.is_grpc
            && let Some(code) = headers.get("grpc-status").and_then(|code| code.to_str().ok())
        {
            self.status = http_status_of_grpc(code);
            if let Some(Watch::Span(request)) = &mut self.watch {
                request.note_grpc_status(code);
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
        self.tell(status);
    }

    fn tell(&mut self, status: u16) {
        match self.watch.take() {
            Some(Watch::Metrics(request)) => request.ended(status),
            Some(Watch::Span(request)) => request.ended(status),
            None => {}
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.tell(if self.running { FAILED } else { CANCELLED });
    }
}

/// The HTTP status that means the same as a gRPC status code (google/rpc/code.proto).
fn http_status_of_grpc(code: &str) -> u16 {
    match code {
        "0" => 200,
        "1" => CANCELLED,
        // Invalid argument, failed precondition, out of range.
        "3" | "9" | "11" => 400,
        "4" => 504,
        "5" => 404,
        // Already exists, aborted.
        "6" | "10" => 409,
        "7" => 403,
        "8" => 429,
        "12" => 501,
        "14" => 503,
        "16" => 401,
        // Unknown, internal, data loss, and codes that don't exist.
        _ => FAILED,
    }
}
