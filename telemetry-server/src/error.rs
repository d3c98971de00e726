//! Errors as the API answers them: a status, and JSON that describes the problem.

use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use telemetry_core::QueryError;
use telemetry_core::wire::{Problem, Problems};

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The body is invalid: 400, in the form of Llama Stack's validation errors.
    Invalid(Problems),
    /// Any other status, with a description.
    Status(StatusCode, String),
    /// The client should try again later.
    Unavailable { status: StatusCode, detail: String, retry_after: Duration },
}

/// How long a client should wait until it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl ApiError {
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::Status(StatusCode::BAD_REQUEST, detail.into())
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::Status(StatusCode::NOT_FOUND, detail.into())
    }

    /// Returns the error for a full queue: 429.
    pub(crate) fn queue_full() -> Self {
        let detail = "the telemetry queue is full; try again later".to_owned();
        Self::Unavailable { status: StatusCode::TOO_MANY_REQUESTS, detail, retry_after: RETRY_AFTER }
    }

    /// Returns the error for work that can't be done now: 503.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        let (status, detail) = (StatusCode::SERVICE_UNAVAILABLE, detail.into());
        Self::Unavailable { status, detail, retry_after: RETRY_AFTER }
    }

    /// Returns the error for a commit that failed or took too long: 503.
    pub(crate) fn not_committed() -> Self {
        Self::unavailable("the store can't commit now; try again later")
    }

    /// Returns the error for work that the shutdown interrupted: 503.
    pub(crate) fn shutting_down() -> Self {
        Self::unavailable("the server is shutting down")
    }

    /// Logs a failed export, and returns the error for it: 502.
    pub(crate) fn export_failed(what: &str, error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "export failed: {what}");
        Self::Status(StatusCode::BAD_GATEWAY, format!("{what}: {error}"))
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
                tracing::error!(error = %error, source, "a query failed and was answered 503");
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

/// The description of an error, as an extension of its response: OTLP routes encode it in another form.
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
