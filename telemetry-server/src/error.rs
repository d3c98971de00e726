//! Errors as the API answers them.

use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use telemetry_core::QueryError;
use telemetry_core::wire::{Problem, Problems};

/// A request that has no answer.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The body is wrong: 400, in the shape of the reference's validation errors.
    Invalid(Problems),
    /// Any other status, with a sentence.
    Status(StatusCode, String),
    /// Try again later.
    Unavailable { status: StatusCode, detail: String, retry_after: Duration },
}

/// When a client may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl ApiError {
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::Status(StatusCode::BAD_REQUEST, detail.into())
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::Status(StatusCode::NOT_FOUND, detail.into())
    }

    /// The queue is full: 429.
    pub(crate) fn full() -> Self {
        let detail = "the telemetry queue is full; try again later".to_owned();
        Self::Unavailable { status: StatusCode::TOO_MANY_REQUESTS, detail, retry_after: RETRY_AFTER }
    }

    /// The store can't do it now: 503.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        let (status, detail) = (StatusCode::SERVICE_UNAVAILABLE, detail.into());
        Self::Unavailable { status, detail, retry_after: RETRY_AFTER }
    }
}

impl From<Problems> for ApiError {
    fn from(problems: Problems) -> Self {
        Self::Invalid(problems)
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self::Invalid(problem.into())
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match &error {
            QueryError::Invalid(reason) => Self::bad_request(reason.clone()),
            QueryError::Timeout => Self::unavailable(error.to_string()),
            _ => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(error = %error, source, "a query failed");
                Self::unavailable(error.to_string())
            }
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(problems) => problems.fmt(f),
            Self::Status(_, detail) | Self::Unavailable { detail, .. } => f.write_str(detail),
        }
    }
}

/// The sentence of an error, kept beside its answer for routes that answer in a form of their own.
#[derive(Clone, Debug)]
pub(crate) struct Detail(pub(crate) String);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let detail = Detail(self.to_string());
        let mut response = self.into_json();
        response.extensions_mut().insert(detail);
        response
    }
}

impl ApiError {
    fn into_json(self) -> Response {
        match self {
            Self::Invalid(problems) => {
                let body = json!({"error": {"detail": {"errors": problems}}});
                (StatusCode::BAD_REQUEST, Json(body)).into_response()
            }
            Self::Status(status, detail) => (status, Json(json!({ "detail": detail }))).into_response(),
            Self::Unavailable { status, detail, retry_after } => {
                let mut response = (status, Json(json!({ "detail": detail }))).into_response();
                let seconds = HeaderValue::from(retry_after.as_secs().max(1));
                response.headers_mut().insert(header::RETRY_AFTER, seconds);
                response
            }
        }
    }
}
