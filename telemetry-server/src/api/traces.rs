//! Traces.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;
use telemetry_core::wire::{read_trace_query, trace_json};

use crate::body::JsonBody;
use crate::error::ApiError;
use crate::path::Path;
use crate::state::AppState;
use crate::stream;

use super::schema;

#[utoipa::path(
    post,
    path = "/traces",
    request_body(content = Option<schema::TraceQuery>),
    responses((status = 200, body = schema::Traces, description = "The traces"), schema::Refused)
)]
pub(super) async fn query(State(state): State<AppState>, body: JsonBody) -> Result<Response, ApiError> {
    let query = body.read(read_trace_query).await?;
    stream::data(state.store()?.query_traces(query), |trace| trace_json(&trace)).await
}

#[utoipa::path(
    get,
    path = "/traces/{trace_id}",
    params(("trace_id" = String, Path, description = "1 to 32 hexadecimal digits, or a UUID", pattern = "^[0-9a-f]{31}1$")),
    responses((status = 200, body = schema::Trace, description = "The trace"), schema::Refused)
)]
pub(super) async fn get(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let trace_id = super::trace_id(&id)?;
    let trace = state.store()?.get_trace(trace_id).await?;
    let trace = trace.ok_or_else(|| ApiError::not_found(format!("Trace {trace_id} not found")))?;
    Ok(Json(trace_json(&trace)))
}
