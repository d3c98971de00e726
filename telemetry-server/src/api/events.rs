//! `POST /events`: one event, or a batch.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use telemetry_core::wire::{EventBatch, Problems, read_event_batch, read_event_body};
use telemetry_core::{Event, Ttl};
use telemetry_pipeline::Submission;

use crate::ack;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::state::AppState;

pub(super) async fn log(
    State(state): State<AppState>,
    JsonBody(body): JsonBody,
) -> Result<Json<Value>, ApiError> {
    let mut problems = Problems::default();
    if body.get("events").is_some() {
        let batch = read_event_batch(&body, &mut problems).ok_or(problems)?;
        return log_batch(&state, batch).await;
    }
    let (event, ttl) = read_event_body(&body, &mut problems).ok_or(problems)?;
    ack::store(&state, vec![Submission::Event { event, ttl }]).await?;
    Ok(Json(Value::Null))
}

/// Stores the good ones; 400 only if there is none.
async fn log_batch(state: &AppState, batch: EventBatch) -> Result<Json<Value>, ApiError> {
    let EventBatch { events, rejected } = batch;
    if events.is_empty() && !rejected.is_empty() {
        let mut all = Problems::default();
        rejected.iter().flat_map(|rejected| &rejected.errors).for_each(|problem| all.push(problem.clone()));
        return Err(all.into());
    }
    let accepted = events.len();
    let submission = |(event, ttl): (Event, Ttl)| Submission::Event { event, ttl };
    ack::store(state, events.into_iter().map(submission).collect()).await?;
    Ok(Json(json!({"accepted": accepted, "rejected": rejected})))
}
