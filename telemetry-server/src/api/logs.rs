//! Logs: an extension of the reference's API.

use axum::extract::State;
use axum::response::Response;
use telemetry_core::wire::{log_json, read_log_query};

use crate::body::JsonBody;
use crate::error::ApiError;
use crate::state::AppState;
use crate::stream;

use super::schema;

#[utoipa::path(
    post,
    path = "/logs",
    request_body(content = Option<schema::LogQuery>),
    responses((status = 200, body = schema::Logs, description = "The logs, newest first"), schema::Refused)
)]
pub(super) async fn query(State(state): State<AppState>, body: JsonBody) -> Result<Response, ApiError> {
    let query = body.read(read_log_query).await?;
    stream::data(state.store()?.query_logs(query), |log| log_json(&log)).await
}
