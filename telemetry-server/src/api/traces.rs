//! Traces.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::Value;
use telemetry_core::wire::{read_trace_query, trace_json};

use crate::body::JsonBody;
use crate::error::ApiError;
use crate::state::AppState;
use crate::stream;

pub(super) async fn query(State(state): State<AppState>, body: JsonBody) -> Result<Response, ApiError> {
    let query = body.read(read_trace_query)?;
    stream::data(state.store()?.query_traces(query), |trace| trace_json(&trace)).await
}

pub(super) async fn get(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let trace_id = super::trace_id(&id)?;
    let trace = state.store()?.get_trace(trace_id).await?;
    let trace = trace.ok_or_else(|| ApiError::not_found(format!("Trace {trace_id} not found")))?;
    Ok(Json(trace_json(&trace)))
}
