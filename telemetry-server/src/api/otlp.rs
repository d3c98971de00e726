//! OTLP over HTTP: `POST /v1/traces`, `/v1/metrics`, `/v1/logs`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::post;
use telemetry_core::Timestamp;
use tokio::sync::oneshot;

use crate::ack;
use crate::error::ApiError;
use crate::otlp::{self, Compression, Encoding, Metrics, Refusal, Rejections};
use crate::state::AppState;

use super::schema;

/// The three routes.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/traces", post(traces))
        .route("/v1/metrics", post(metrics))
        .route("/v1/logs", post(logs))
}

/// Errors of the layers around the routes, in the encoding of the request.
pub(super) async fn answer_in_kind(request: Request, next: Next) -> Response {
    let is_otlp = request.method() == Method::POST
        && matches!(request.uri().path(), "/v1/traces" | "/v1/metrics" | "/v1/logs");
    let encoding = is_otlp.then(|| Encoding::of(request.headers()).unwrap_or(Encoding::Json));
    let response = next.run(request).await;
    match encoding {
        Some(encoding) => otlp::in_kind(encoding, response),
        None => response,
    }
}

/// The body as received, or why it was not.
type Body = Result<Bytes, BytesRejection>;

/// How the records of a signal are read.
type Read<T> = fn(Encoding, &[u8], usize, Timestamp, &mut Rejections) -> Result<T, Refusal>;

#[utoipa::path(
    post,
    path = "/v1/traces",
    request_body(content((Object = "application/json"), (Vec<u8> = "application/x-protobuf"))),
    responses((status = 200, body = Object, description = "Stored, or in part"), schema::OtlpRefused)
)]
pub(super) async fn traces(State(state): State<AppState>, headers: HeaderMap, body: Body) -> Response {
    let work = async |encoding| {
        let (spans, rejected) = read(&state, encoding, &headers, body, otlp::read_traces).await?;
        some_are_good(spans.len(), &rejected)?;
        ack::store(&state, spans).await?;
        Ok(rejected)
    };
    answer(&headers, "rejectedSpans", work).await
}

#[utoipa::path(
    post,
    path = "/v1/logs",
    request_body(content((Object = "application/json"), (Vec<u8> = "application/x-protobuf"))),
    responses((status = 200, body = Object, description = "Stored, or in part"), schema::OtlpRefused)
)]
pub(super) async fn logs(State(state): State<AppState>, headers: HeaderMap, body: Body) -> Response {
    let work = async |encoding| {
        let (logs, rejected) = read(&state, encoding, &headers, body, otlp::read_logs).await?;
        some_are_good(logs.len(), &rejected)?;
        ack::store(&state, logs).await?;
        Ok(rejected)
    };
    answer(&headers, "rejectedLogRecords", work).await
}

#[utoipa::path(
    post,
    path = "/v1/metrics",
    request_body(content((Object = "application/json"), (Vec<u8> = "application/x-protobuf"))),
    responses((status = 200, body = Object, description = "Stored, or in part"), schema::OtlpRefused)
)]
pub(super) async fn metrics(State(state): State<AppState>, headers: HeaderMap, body: Body) -> Response {
    let work = async |encoding| {
        let (metrics, rejected) = read(&state, encoding, &headers, body, otlp::read_metrics).await?;
        some_are_good(metrics.ready.len() + metrics.cumulative.len(), &rejected)?;
        // On a task of its own: a client that goes away must not leave in doubt what was counted.
        let (told, stored) = oneshot::channel();
        tokio::spawn(store_metrics(state.clone(), metrics, told));
        stored.await.unwrap_or_else(|_| Err(ApiError::unavailable("the server is shutting down")))?;
        Ok(rejected)
    };
    answer(&headers, "rejectedDataPoints", work).await
}

/// Answers in the encoding of the request; `name` is the JSON field that counts rejected records.
async fn answer(
    headers: &HeaderMap,
    name: &str,
    work: impl AsyncFnOnce(Encoding) -> Result<Rejections, ApiError>,
) -> Response {
    match Encoding::of(headers) {
        Err(refusal) => otlp::refused(Encoding::Json, refusal.into()),
        Ok(encoding) => match work(encoding).await {
            Ok(rejected) => otlp::accepted(encoding, name, &rejected),
            Err(error) => otlp::refused(encoding, error),
        },
    }
}

/// Reads the records.
async fn read<T: Send + 'static>(
    state: &AppState,
    encoding: Encoding,
    headers: &HeaderMap,
    body: Body,
    read: Read<T>,
) -> Result<(T, Rejections), ApiError> {
    let body = body.map_err(|rejection| ApiError::Status(rejection.status(), rejection.body_text()))?;
    let compression = Compression::of(headers)?;
    let limit = state.max_body_bytes();
    // A few kilobytes may become a body of the largest size.
    let bytes = (compression == Compression::None).then_some(body.len());
    let work = move || {
        let mut rejected = Rejections::default();
        let plain = compression.undo(&body, limit)?;
        let records = read(encoding, &plain, limit, Timestamp::now(), &mut rejected)?;
        Ok((records, rejected))
    };
    let done: Result<_, Refusal> = state.decoders().run(bytes, work).await?;
    Ok(done?)
}

/// A request of which nothing can be kept is a bad request, not a partial success.
fn some_are_good(good: usize, rejected: &Rejections) -> Result<(), ApiError> {
    if good == 0 && rejected.count() > 0 {
        return Err(ApiError::bad_request(rejected.message()));
    }
    Ok(())
}

/// Stores measurements, of cumulative streams what was added to them, and tells the client.
///
/// A client is told in time, but other points of the streams wait until the outcome is known: what is sent
/// again while the first try is pending would count twice.
async fn store_metrics(state: AppState, metrics: Metrics, told: oneshot::Sender<Result<(), ApiError>>) {
    let Metrics { ready: mut submissions, cumulative } = metrics;
    // A client that is gone needs no answer.
    let tell = |answer| drop(told.send(answer));
    if cumulative.is_empty() {
        return tell(ack::store(&state, submissions).await);
    }
    let store = state.telemetry().store();
    let settling = state.streams().settle(cumulative, store.as_ref());
    let mut settled = match tokio::time::timeout(state.ack_within(), settling).await {
        Ok(Ok(settled)) => settled,
        Ok(Err(error)) => return tell(Err(error.into())),
        Err(_) => return tell(Err(ack::not_now())),
    };
    submissions.append(&mut settled.increments);
    if submissions.is_empty() {
        settled.stored();
        return tell(Ok(()));
    }
    let mut pending = match ack::Pending::submit(&state, submissions) {
        Ok(pending) => pending,
        Err(error) => return tell(Err(error)),
    };
    let in_time = pending.wait(&state).await;
    let is_stored = in_time.is_ok();
    tell(in_time);
    if is_stored || pending.outcome(&state).await {
        settled.stored();
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::TooLarge { .. } | Refusal::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
        };
        Self::Status(status, refusal.to_string())
    }
}
