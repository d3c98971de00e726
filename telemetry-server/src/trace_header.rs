//! `x-trace-id` on every answer: the request's own trace, or a fresh id.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use telemetry_pipeline::{TraceParent, random_trace_id};

static X_TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

pub(crate) async fn add(request: Request, next: Next) -> Response {
    let header = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let parent = header.and_then(|value| value.parse::<TraceParent>().ok());
    let trace_id = parent.map_or_else(random_trace_id, |parent| parent.parent.trace_id);
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&trace_id.to_string()) {
        response.headers_mut().insert(X_TRACE_ID.clone(), value);
    }
    response
}
