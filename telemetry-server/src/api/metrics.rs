//! Metric series.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use telemetry_core::Timestamp;
use telemetry_core::wire::{metric_series_json, read_metric_query};

use crate::body::JsonBody;
use crate::error::ApiError;
use crate::path::Path;
use crate::state::AppState;

use super::schema;

#[utoipa::path(
    post,
    path = "/metrics/{metric_name}",
    params(("metric_name" = String, Path, description = "As logged, or as exported")),
    request_body(content = schema::MetricQuery),
    responses((status = 200, body = schema::Metrics, description = "The series"), schema::Refused)
)]
pub(super) async fn query(
    State(state): State<AppState>,
    Path(metric): Path<String>,
    body: JsonBody,
) -> Result<Json<Value>, ApiError> {
    let now = Timestamp::now();
    let query = body.read(move |body, problems| read_metric_query(&metric, body, now, problems)).await?;
    let series = state.store()?.query_metrics(query).await?;
    Ok(Json(json!({"data": series.iter().map(metric_series_json).collect::<Vec<_>>()})))
}
