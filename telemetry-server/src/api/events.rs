//! `POST /events`: one event, or a batch.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use telemetry_core::wire::{
    EventBatch, LocPart, Problem, Problems, RejectedEvent, read_event_batch, read_event_body,
};
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
    responses((status = 200, body = schema::LoggedAnswer, description = "Stored; starts and logs of traces outside `sample_ratio` are accepted and wait for the end of their span"), schema::Refused)
)]
pub(super) async fn log(State(state): State<AppState>, body: JsonBody) -> Result<Json<Value>, ApiError> {
    let max_attributes = state.telemetry().max_attributes();
    match body.read(Logged::read).await? {
        Logged::One(event, ttl) => {
            if let Some(problem) = too_many_attributes(&event, max_attributes) {
                return Err(Problems::from(problem).into());
            }
            submit(&state, vec![Submission::Event { event, ttl }]).await?;
            Ok(Json(Value::Null))
        }
        Logged::Batch(batch) => log_batch(&state, batch).await,
    }
}

/// Returns the problem of an event with more attributes than the limit.
fn too_many_attributes(event: &Event, max: usize) -> Option<Problem> {
    let count = event.attributes().len();
    (count > max).then(|| Problem {
        loc: ["body", "event", "attributes"].map(|part| LocPart::Key(part.to_owned())).to_vec(),
        msg: format!(
            "Dictionary should have at most {max} items, not {count}; see `pipeline.max_attributes_per_span`"
        ),
        kind: "too_long",
    })
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
    let EventBatch { mut events, mut rejected } = batch;
    let max_attributes = state.telemetry().max_attributes();
    // The indexes of the events that are left: rejected ones are missing.
    let missing: HashSet<usize> = rejected.iter().map(|rejected| rejected.index).collect();
    let mut indexes = (0..).filter(|index| !missing.contains(index));
    let mut large = Vec::new();
    events.retain(|(event, _)| {
        let index = indexes.next().unwrap_or_default();
        let problem = too_many_attributes(event, max_attributes);
        large.extend(problem.clone().map(|problem| RejectedEvent { index, errors: problem.into() }));
        problem.is_none()
    });
    rejected.extend(large);
    rejected.sort_by_key(|rejected| rejected.index);
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
