//! How a request is refused.

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// What was wrong, at every place of the body; or one sentence.
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

/// Every way a request can be refused.
#[derive(IntoResponses)]
pub(in crate::api) enum Refused {
    /// The request is wrong.
    #[response(status = 400)]
    Invalid(Invalid),
    /// No token, or one that is not known.
    #[response(status = 401)]
    Unauthorized(Failure),
    /// The token lacks the scope.
    #[response(status = 403)]
    Forbidden(Failure),
    /// There is nothing of that id.
    #[response(status = 404)]
    NotFound(Failure),
    /// The body did not come in time.
    #[response(status = 408)]
    RequestTimeout(Failure),
    /// The body is too large.
    #[response(status = 413)]
    PayloadTooLarge(Failure),
    /// The body is of another type.
    #[response(status = 415)]
    UnsupportedMediaType(Failure),
    /// The queue is full; `Retry-After` says when to try again.
    #[response(status = 429)]
    TooManyRequests(Failure),
    /// A datasets' server refused.
    #[response(status = 502)]
    BadGateway(Failure),
    /// The store can't do it now; `Retry-After` says when to try again.
    #[response(status = 503)]
    ServiceUnavailable(Failure),
}

/// `google.rpc.Status`, as OTLP says; or the sentence of a bound that is not OTLP's.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
pub(in crate::api) enum OtlpFailure {
    Status { code: i32, message: String },
    Other(Failure),
}

/// Every way an OTLP request can be refused; in protobuf where the request was.
#[derive(IntoResponses)]
pub(in crate::api) enum OtlpRefused {
    /// The request is wrong, or nothing of it can be kept.
    #[response(status = 400)]
    Invalid(OtlpFailure),
    /// No token, or one that is not known.
    #[response(status = 401)]
    Unauthorized(OtlpFailure),
    /// The token lacks the scope.
    #[response(status = 403)]
    Forbidden(OtlpFailure),
    /// The body did not come in time.
    #[response(status = 408)]
    RequestTimeout(OtlpFailure),
    /// The body is too large.
    #[response(status = 413)]
    PayloadTooLarge(OtlpFailure),
    /// The body is of another type.
    #[response(status = 415)]
    UnsupportedMediaType(OtlpFailure),
    /// The queue is full; `Retry-After` says when to try again.
    #[response(status = 429)]
    TooManyRequests(OtlpFailure),
    /// The store can't do it now; `Retry-After` says when to try again.
    #[response(status = 503)]
    ServiceUnavailable(OtlpFailure),
}
