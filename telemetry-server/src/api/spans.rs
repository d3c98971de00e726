//! Spans: one, a tree, many, into a dataset.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use telemetry_core::SpanKey;
use telemetry_core::wire::{
    read_export, read_span_query, read_tree_query, span_json, span_tree_json, span_with_events_json,
};

use crate::body::JsonBody;
use crate::error::ApiError;
use crate::path::Path;
use crate::state::AppState;
use crate::stream;

use super::schema;

#[utoipa::path(
    get,
    path = "/traces/{trace_id}/spans/{span_id}",
    params(("trace_id" = String, Path, description = "1 to 32 hexadecimal digits, or a UUID", pattern = "^[0-9a-f]{31}1$"), ("span_id" = String, Path, description = "1 to 16 hexadecimal digits", pattern = "^[0-9a-f]{15}1$")),
    responses((status = 200, body = schema::SpanWithEvents, description = "The span"), schema::Refused)
)]
pub(super) async fn get(
    State(state): State<AppState>,
    Path((trace, span)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let key = SpanKey::new(super::trace_id(&trace)?, super::span_id(&span)?);
    let span = state.store()?.get_span(key).await?;
    let span = span.ok_or_else(|| {
        ApiError::not_found(format!("Span {} not found in trace {}", key.span_id, key.trace_id))
    })?;
    Ok(Json(span_with_events_json(&span, state.telemetry().service_name())))
}

#[utoipa::path(
    post,
    path = "/spans/{span_id}/tree",
    params(("span_id" = String, Path, description = "1 to 16 hexadecimal digits", pattern = "^[0-9a-f]{15}1$")),
    request_body(content = Option<schema::TreeQuery>),
    responses((status = 200, body = schema::SpanTree, description = "The span and what is below it"), schema::Refused)
)]
pub(super) async fn tree(
    State(state): State<AppState>,
    Path(span): Path<String>,
    body: JsonBody,
) -> Result<Json<Value>, ApiError> {
    let span_id = super::span_id(&span)?;
    let request = body.read(move |body, problems| read_tree_query(span_id, body, problems)).await?;
    let tree = state.store()?.span_tree(request.query).await?;
    let tree = tree.ok_or_else(|| ApiError::not_found(format!("Span {span_id} not found")))?;
    let service_name = state.telemetry().service_name();
    Ok(Json(json!({"data": span_tree_json(&tree, &request.attributes_to_return, service_name)})))
}

#[utoipa::path(
    post,
    path = "/spans",
    request_body(content = schema::SpanQuery),
    responses((status = 200, body = schema::Spans, description = "The spans"), schema::Refused)
)]
pub(super) async fn query(State(state): State<AppState>, body: JsonBody) -> Result<Response, ApiError> {
    let query = body.read(read_span_query).await?;
    let service_name = state.telemetry().service_name().to_owned();
    stream::data(state.store()?.query_spans(query), move |span| span_json(&span, &service_name)).await
}

#[utoipa::path(
    post,
    path = "/spans/export",
    request_body(content = schema::Export),
    responses((status = 200, body = schema::Null, description = "Appended"), schema::Refused)
)]
pub(super) async fn export(State(state): State<AppState>, body: JsonBody) -> Result<Json<Value>, ApiError> {
    let request = body.read(read_export).await?;
    let spans = state.store()?.query_spans(request.query);
    state.exporter().append(&request.dataset_id, spans).await?;
    Ok(Json(Value::Null))
}
