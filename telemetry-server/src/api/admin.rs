//! The state of the server: health, version, ledger and metrics.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use telemetry_pipeline::{Ledger, SinkState};

use crate::api::schema;
use crate::error::ApiError;
use crate::exposition;
use crate::state::AppState;

/// Answers 200 while events can be stored, else 503. Needs no token, so the answer names no path and no cause: the
/// ledger and the log do. The state of other sinks does not matter here.
#[utoipa::path(
    get,
    path = "/v1/health",
    responses((status = 200, body = schema::Health, description = "Events can be stored"), schema::Refused)
)]
pub(super) async fn health(State(state): State<AppState>) -> Result<Json<Value>, ApiError> {
    let ledger = state.telemetry().ledger();
    if let Some(sink) = ledger.sinks.iter().find(|sink| sink.is_store && sink.state != SinkState::Running) {
        return Err(ApiError::unavailable(format!("the store `{}` has stopped; see the ledger", sink.name)));
    }
    if let Some(store) = state.telemetry().store() {
        store
            .health()
            .await
            .map_err(|_| ApiError::unavailable("events can't be stored now; see the ledger"))?;
    }
    Ok(Json(json!({"status": "OK"})))
}

#[utoipa::path(
    get,
    path = "/v1/version",
    responses((status = 200, body = schema::Version, description = "The version"), schema::Refused)
)]
pub(super) async fn version() -> Json<Value> {
    Json(json!({"version": env!("CARGO_PKG_VERSION")}))
}

/// Counts of everything logged so far, by outcome.
#[utoipa::path(
    get,
    path = "/ledger",
    responses((status = 200, body = schema::Ledger, description = "The ledger"), schema::Refused)
)]
pub(super) async fn ledger(State(state): State<AppState>) -> Json<Ledger> {
    Json(state.telemetry().ledger())
}

/// The logged metrics, the server's own metrics and the ledger, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, body = String, content_type = "text/plain", description = "Prometheus text format"), schema::Refused)
)]
pub(super) async fn metrics(State(state): State<AppState>) -> Result<Response, ApiError> {
    let page = state.exposition().render();
    let page = page.map_err(|_| ApiError::unavailable("the metrics can't be formatted"))?;
    Ok(([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], page).into_response())
}
