//! The router of the API.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Router, middleware};
use telemetry_pipeline::{Telemetry, TraceParent, random_trace_id};

use crate::api::authorize::authorize;
use crate::api::{admin, events, openapi, otlp, queries};
use crate::error::ApiError;
use crate::http;
use crate::settings::Settings;
use crate::state::AppState;
use crate::tokens::Scope;

/// Returns the API over one pipeline.
pub fn router(telemetry: Telemetry, settings: &Settings) -> Router {
    let state = AppState::new(telemetry, settings);
    // An export needs both scopes: it reads here and writes elsewhere.
    let needs = |scope: Scope| middleware::from_fn_with_state((state.clone(), scope), authorize);
    let write = Router::new().route("/events", post(events::log)).route_layer(needs(Scope::Write));
    let both = Router::new()
        .route("/spans/export", post(queries::export_spans))
        .route_layer(needs(Scope::Read))
        .route_layer(needs(Scope::Write));
    let read = Router::new()
        .route("/traces", post(queries::query_traces))
        .route("/traces/{trace_id}", get(queries::get_trace))
        .route("/traces/{trace_id}/spans/{span_id}", get(queries::get_span))
        .route("/spans", post(queries::query_spans))
        .route("/spans/{span_id}/tree", post(queries::get_span_tree))
        .route("/metrics/{metric_name}", post(queries::query_metrics))
        .route("/logs", post(queries::query_logs))
        .route("/ledger", get(admin::ledger))
        .route_layer(needs(Scope::Read));
    let routes = read.merge(write).merge(both);
    Router::new()
        .nest("/v1/telemetry", routes.clone())
        // Clients of version 0.3 use this prefix.
        .nest("/v1alpha/telemetry", routes)
        .merge(otlp::routes().route_layer(needs(Scope::Write)))
        .merge(Router::new().route("/metrics", get(admin::metrics)).route_layer(needs(Scope::Read)))
        .route("/openapi.json", get(openapi::get))
        .route("/v1/health", get(admin::health))
        .route("/v1/version", get(admin::version))
        .fallback(async || ApiError::not_found("Not Found"))
        .method_not_allowed_fallback(async || {
            ApiError::Status(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed".into())
        })
        .layer(DefaultBodyLimit::max(settings.limits.max_body_bytes))
        .layer(middleware::from_fn_with_state(Arc::clone(state.request_limiter()), http::limit_requests))
        .layer(middleware::from_fn(otlp::encode_errors))
        .layer(middleware::from_fn(add_trace_header))
        .with_state(state)
}

static X_TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// Adds the header `x-trace-id` to every answer: the request's own trace id, or a new one.
async fn add_trace_header(request: Request, next: Next) -> Response {
    let header = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let parent = header.and_then(|value| value.parse::<TraceParent>().ok());
    let trace_id = parent.map_or_else(random_trace_id, |parent| parent.parent.trace_id);
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&trace_id.to_string()) {
        response.headers_mut().insert(X_TRACE_ID.clone(), value);
    }
    response
}
