//! `POST /events`: one event, or a batch.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use telemetry_core::wire::{EventBatch, Problems, read_event_batch, read_event_body};
use telemetry_core::{Event, Submission, Ttl};

use crate::api::json_body::JsonBody;
use crate::api::schema;
use crate::api::submit::submit;
use crate::error::ApiError;
use crate::state::AppState;

#[utoipa::path(
    post,
    path = "/events",
    request_body(content = schema::Logged),
    responses((status = 200, body = schema::LoggedAnswer, description = "Stored"), schema::Refused)
)]
pub(super) async fn log(State(state): State<AppState>, body: JsonBody) -> Result<Json<Value>, ApiError> {
    match body.read(Logged::read).await? {
        Logged::One(event, ttl) => {
            submit(&state, vec![Submission::Event { event, ttl }]).await?;
            Ok(Json(Value::Null))
        }
        Logged::Batch(batch) => log_batch(&state, batch).await,
    }
}

/// The events of a body.
enum Logged {
    One(Event, Ttl),
    Batch(EventBatch),
}

impl Logged {
    fn read(body: &Value, problems: &mut Problems) -> Option<Self> {
        if body.get("events").is_some() {
            return read_event_batch(body, problems).map(Self::Batch);
        }
        read_event_body(body, problems).map(|(event, ttl)| Self::One(event, ttl))
    }
}

/// Stores the valid events of a batch. Answers 400 only if none is valid.
async fn log_batch(state: &AppState, batch: EventBatch) -> Result<Json<Value>, ApiError> {
    let EventBatch { events, rejected } = batch;
    if events.is_empty() && !rejected.is_empty() {
        let mut all = Problems::default();
        rejected.iter().flat_map(|rejected| &rejected.errors).for_each(|problem| all.push(problem.clone()));
        return Err(all.into());
    }
    let accepted = events.len();
    let submission = |(event, ttl): (Event, Ttl)| Submission::Event { event, ttl };
    submit(state, events.into_iter().map(submission).collect()).await?;
    Ok(Json(json!({"accepted": accepted, "rejected": rejected})))
}
