//! The variable parts of a path.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use telemetry_core::{SpanId, TraceId};

use crate::error::ApiError;

/// Like axum's `Path`, but a failure is answered in the form of every other error.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::Status(rejection.status(), rejection.body_text())),
        }
    }
}

/// Parses the trace id of a path.
pub(super) fn trace_id(text: &str) -> Result<TraceId, ApiError> {
    text.parse().map_err(|error| ApiError::bad_request(format!("invalid trace_id: {error}")))
}

/// Parses the span id of a path.
pub(super) fn span_id(text: &str) -> Result<SpanId, ApiError> {
    text.parse().map_err(|error| ApiError::bad_request(format!("invalid span_id: {error}")))
}
