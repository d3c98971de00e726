//! The routes. One file per group.

mod admin;
mod events;
mod logs;
mod metrics;
mod openapi;
mod otlp;
mod schema;
mod spans;
mod traces;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Router, middleware};
use telemetry_core::{SpanId, TraceId};
use telemetry_pipeline::Telemetry;

use crate::Settings;
use crate::auth::{self, Scope};
use crate::error::ApiError;
use crate::http;
use crate::state::AppState;
use crate::trace_header;

/// The API over one pipeline.
pub fn router(telemetry: Telemetry, settings: &Settings) -> Router {
    let state = AppState::new(telemetry, settings);
    // What a token must be good for; export reads here to write elsewhere.
    let needs = |scope: Scope| middleware::from_fn_with_state((state.clone(), scope), auth::check);
    let write = Router::new().route("/events", post(events::log)).route_layer(needs(Scope::Write));
    let both = Router::new()
        .route("/spans/export", post(spans::export))
        .route_layer(needs(Scope::Read))
        .route_layer(needs(Scope::Write));
    let read = Router::new()
        .route("/traces", post(traces::query))
        .route("/traces/{trace_id}", get(traces::get))
        .route("/traces/{trace_id}/spans/{span_id}", get(spans::get))
        .route("/spans", post(spans::query))
        .route("/spans/{span_id}/tree", post(spans::tree))
        .route("/metrics/{metric_name}", post(metrics::query))
        .route("/logs", post(logs::query))
        .route("/ledger", get(admin::ledger))
        .route_layer(needs(Scope::Read));
    let routes = read.merge(write).merge(both);
    Router::new()
        .nest("/v1/telemetry", routes.clone())
        // Clients 0.3.x use this one.
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
        .layer(middleware::from_fn_with_state(state.clone(), http::admit))
        .layer(middleware::from_fn(otlp::answer_in_kind))
        .layer(middleware::from_fn(trace_header::add))
        .with_state(state)
}

/// A trace id of a path.
fn trace_id(text: &str) -> Result<TraceId, ApiError> {
    text.parse().map_err(|error| ApiError::bad_request(format!("invalid trace_id: {error}")))
}

/// A span id of a path.
fn span_id(text: &str) -> Result<SpanId, ApiError> {
    text.parse().map_err(|error| ApiError::bad_request(format!("invalid span_id: {error}")))
}
