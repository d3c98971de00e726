//! Queries of traces, spans, metrics and logs, and the export of spans.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use telemetry_core::wire::{
    log_json, metric_series_json, read_export, read_log_query, read_metric_query, read_span_query,
    read_trace_query, read_tree_query, span_json, span_tree_json, span_with_events_json, trace_json,
};
use telemetry_core::{SpanKey, Timestamp};

use crate::api::json_body::JsonBody;
use crate::api::paged_answer::paged_answer;
use crate::api::path_params::{Path, span_id, trace_id};
use crate::api::schema;
use crate::error::ApiError;
use crate::state::AppState;

#[utoipa::path(
    post,
    path = "/traces",
    request_body(content = Option<schema::TraceQuery>),
    responses((status = 200, body = schema::Traces, description = "The traces"), schema::Refused)
)]
pub(super) async fn query_traces(
    State(state): State<AppState>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let query = body.read(read_trace_query).await?;
    paged_answer(state.store()?.query_traces(query), |trace| trace_json(&trace)).await
}

#[utoipa::path(
    get,
    path = "/traces/{trace_id}",
    params(("trace_id" = String, Path, description = "1 to 32 hexadecimal digits, or a UUID", pattern = "^[0-9a-f]{31}1$")),
    responses((status = 200, body = schema::Trace, description = "The trace"), schema::Refused)
)]
pub(super) async fn get_trace(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let trace_id = trace_id(&id)?;
    let trace = state.store()?.get_trace(trace_id).await?;
    let trace = trace.ok_or_else(|| ApiError::not_found(format!("Trace {trace_id} not found")))?;
    Ok(Json(trace_json(&trace)))
}

#[utoipa::path(
    get,
    path = "/traces/{trace_id}/spans/{span_id}",
    params(("trace_id" = String, Path, description = "1 to 32 hexadecimal digits, or a UUID", pattern = "^[0-9a-f]{31}1$"), ("span_id" = String, Path, description = "1 to 16 hexadecimal digits", pattern = "^[0-9a-f]{15}1$")),
    responses((status = 200, body = schema::SpanWithEvents, description = "The span"), schema::Refused)
)]
pub(super) async fn get_span(
    State(state): State<AppState>,
    Path((trace, span)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let key = SpanKey::new(trace_id(&trace)?, span_id(&span)?);
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
pub(super) async fn get_span_tree(
    State(state): State<AppState>,
    Path(span): Path<String>,
    body: JsonBody,
) -> Result<Json<Value>, ApiError> {
    let span_id = span_id(&span)?;
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
pub(super) async fn query_spans(State(state): State<AppState>, body: JsonBody) -> Result<Response, ApiError> {
    let query = body.read(read_span_query).await?;
    let service_name = state.telemetry().service_name().to_owned();
    paged_answer(state.store()?.query_spans(query), move |span| span_json(&span, &service_name)).await
}

#[utoipa::path(
    post,
    path = "/spans/export",
    request_body(content = schema::Export),
    responses((status = 200, body = schema::Null, description = "Appended"), schema::Refused)
)]
pub(super) async fn export_spans(
    State(state): State<AppState>,
    body: JsonBody,
) -> Result<Json<Value>, ApiError> {
    let request = body.read(read_export).await?;
    let spans = state.store()?.query_spans(request.query);
    state.exporter().append(&request.dataset_id, spans).await?;
    Ok(Json(Value::Null))
}

#[utoipa::path(
    post,
    path = "/metrics/{metric_name}",
    params(("metric_name" = String, Path, description = "As logged, or as exported")),
    request_body(content = schema::MetricQuery),
    responses((status = 200, body = schema::Metrics, description = "The series"), schema::Refused)
)]
pub(super) async fn query_metrics(
    State(state): State<AppState>,
    Path(metric): Path<String>,
    body: JsonBody,
) -> Result<Json<Value>, ApiError> {
    let now = Timestamp::now();
    let query =
        body.read_slowly(move |body, problems| read_metric_query(&metric, body, now, problems)).await?;
    let series = state.store()?.query_metrics(query).await?;
    Ok(Json(json!({"data": series.iter().map(metric_series_json).collect::<Vec<_>>()})))
}

#[utoipa::path(
    post,
    path = "/logs",
    request_body(content = Option<schema::LogQuery>),
    responses((status = 200, body = schema::Logs, description = "The logs, newest first"), schema::Refused)
)]
pub(super) async fn query_logs(State(state): State<AppState>, body: JsonBody) -> Result<Response, ApiError> {
    let query = body.read(read_log_query).await?;
    paged_answer(state.store()?.query_logs(query), |log| log_json(&log)).await
}
