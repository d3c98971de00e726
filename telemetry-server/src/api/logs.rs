//! Logs: an extension of the reference's API.

use axum::extract::State;
use axum::response::Response;
use telemetry_core::wire::{Problems, log_json, read_log_query};

use crate::body::JsonBody;
use crate::error::ApiError;
use crate::state::AppState;
use crate::stream;

pub(super) async fn query(
    State(state): State<AppState>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let mut problems = Problems::default();
    let query = read_log_query(&body, &mut problems).ok_or(problems)?;
    stream::data(state.store()?.query_logs(query), |log| log_json(&log)).await
}
