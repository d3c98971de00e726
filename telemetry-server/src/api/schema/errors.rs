//! The bodies of errors.

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// Every problem of the body with its location, or one description.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(in crate::api) enum Invalid {
    Body { error: InvalidDetail },
    Other(Failure),
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct InvalidDetail {
    detail: InvalidErrors,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct InvalidErrors {
    errors: Vec<Problem>,
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct Problem {
    loc: Vec<Place>,
    msg: String,
    r#type: String,
}

/// A key, or an index.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(in crate::api) enum Place {
    Key(String),
    Index(u64),
}

#[derive(ToSchema, Serialize)]
pub(in crate::api) struct Failure {
    detail: String,
}

/// The errors of the API.
#[derive(IntoResponses)]
pub(in crate::api) enum Refused {
    /// The request is invalid.
    #[response(status = 400)]
    Invalid(Invalid),
    /// The token is missing or unknown.
    #[response(status = 401)]
    Unauthorized(Failure),
    /// The token lacks the scope.
    #[response(status = 403)]
    Forbidden(Failure),
    /// Nothing with this id exists.
    #[response(status = 404)]
    NotFound(Failure),
    /// The body did not arrive in time.
    #[response(status = 408)]
    RequestTimeout(Failure),
    /// The body is too large.
    #[response(status = 413)]
    PayloadTooLarge(Failure),
    /// The content type or the content encoding is not supported.
    #[response(status = 415)]
    UnsupportedMediaType(Failure),
    /// The queue is full. `Retry-After` tells when to try again.
    #[response(status = 429)]
    TooManyRequests(Failure),
    /// The export failed: the datasets server or the directory reported an error.
    #[response(status = 502)]
    BadGateway(Failure),
    /// The server or the store can't process the request now. `Retry-After` tells when to try again.
    #[response(status = 503)]
    ServiceUnavailable(Failure),
}

/// `google.rpc.Status`, or a description.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(in crate::api) enum OtlpFailure {
    Status { code: i32, message: String },
    Other(Failure),
}

/// The errors of OTLP routes, in the encoding of the request.
#[derive(IntoResponses)]
pub(in crate::api) enum OtlpRefused {
    /// The request is invalid, or every record is rejected.
    #[response(status = 400)]
    Invalid(OtlpFailure),
    /// The token is missing or unknown.
    #[response(status = 401)]
    Unauthorized(OtlpFailure),
    /// The token lacks the scope.
    #[response(status = 403)]
    Forbidden(OtlpFailure),
    /// The body did not arrive in time.
    #[response(status = 408)]
    RequestTimeout(OtlpFailure),
    /// The body is too large.
    #[response(status = 413)]
    PayloadTooLarge(OtlpFailure),
    /// The content type or the content encoding is not supported.
    #[response(status = 415)]
    UnsupportedMediaType(OtlpFailure),
    /// The queue is full. `Retry-After` tells when to try again.
    #[response(status = 429)]
    TooManyRequests(OtlpFailure),
    /// The server or the store can't process the request now. `Retry-After` tells when to try again.
    #[response(status = 503)]
    ServiceUnavailable(OtlpFailure),
}
