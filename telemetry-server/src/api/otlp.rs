//! OTLP over HTTP: `POST /v1/traces`, `/v1/metrics`, `/v1/logs`.

use std::borrow::Cow;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use telemetry_core::{QueryError, Timestamp};
use telemetry_otlp::{
    Compression, DecodeError, Decoded, Encoding, Increments, OtlpSignal, Rejections, Streams, decode,
    error_response, export_response,
};
use tokio::sync::{MutexGuard, oneshot};

use crate::api::schema;
use crate::api::submit::{Pending, submit};
use crate::error::{ApiError, Detail};
use crate::state::AppState;

/// Returns the three routes.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/traces", post(receive_traces))
        .route("/v1/metrics", post(receive_metrics))
        .route("/v1/logs", post(receive_logs))
}

/// Encodes every error on these routes as `google.rpc.Status`, in the encoding of the request.
///
/// The errors come from the routes and from the layers around them. Headers such as `Retry-After` stay.
pub(super) async fn encode_errors(request: Request, next: Next) -> Response {
    let is_otlp = request.method() == Method::POST
        && OtlpSignal::ALL.iter().any(|signal| signal.path() == request.uri().path());
    let encoding = is_otlp.then(|| encoding(request.headers()).unwrap_or(Encoding::Json));
    let mut response = next.run(request).await;
    let Some(encoding) = encoding else { return response };
    let Some(Detail(message)) = response.extensions_mut().remove::<Detail>() else { return response };
    let (mut head, _) = response.into_parts();
    let body = error_response(encoding, rpc_code(head.status), message);
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
    Response::from_parts(head, body.into())
}

/// Returns the code of `google.rpc.Code` for an HTTP status.
fn rpc_code(status: StatusCode) -> i32 {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => 8,
        StatusCode::SERVICE_UNAVAILABLE => 14,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => 12,
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::REQUEST_TIMEOUT => 4,
        status if status.is_client_error() => 3,
        _ => 13,
    }
}

/// The body, or why it was not received.
type Body = Result<Bytes, BytesRejection>;

#[utoipa::path(
    post,
    path = "/v1/traces",
    request_body(content((Object = "application/json"), (Vec<u8> = "application/x-protobuf"))),
    responses((status = 200, body = Object, description = "Stored, at least in part"), schema::OtlpRefused)
)]
pub(super) async fn receive_traces(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    receive(OtlpSignal::Traces, state, &headers, body).await
}

#[utoipa::path(
    post,
    path = "/v1/logs",
    request_body(content((Object = "application/json"), (Vec<u8> = "application/x-protobuf"))),
    responses((status = 200, body = Object, description = "Stored, at least in part"), schema::OtlpRefused)
)]
pub(super) async fn receive_logs(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    receive(OtlpSignal::Logs, state, &headers, body).await
}

#[utoipa::path(
    post,
    path = "/v1/metrics",
    request_body(content((Object = "application/json"), (Vec<u8> = "application/x-protobuf"))),
    responses((status = 200, body = Object, description = "Stored, at least in part"), schema::OtlpRefused)
)]
pub(super) async fn receive_metrics(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    receive(OtlpSignal::Metrics, state, &headers, body).await
}

/// Decodes and stores a request, and answers in its encoding.
async fn receive(
    signal: OtlpSignal,
    state: AppState,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let encoding = encoding(headers)?;
    let rejections = decode_and_store(signal, encoding, state, headers, body).await?;
    let content_type = HeaderValue::from_static(encoding.content_type());
    let body = export_response(signal, encoding, &rejections);
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

async fn decode_and_store(
    signal: OtlpSignal,
    encoding: Encoding,
    state: AppState,
    headers: &HeaderMap,
    body: Body,
) -> Result<Rejections, ApiError> {
    let body = body.map_err(|rejection| ApiError::Status(rejection.status(), rejection.body_text()))?;
    let compression = Compression::from_content_encoding(&text(headers, &header::CONTENT_ENCODING))?;
    let max_body_bytes = state.max_body_bytes();
    // The size of a compressed body is known only after decompression.
    let bytes = (compression == Compression::None).then_some(body.len());
    let work = move || {
        let body = compression.decompress(&body, max_body_bytes)?;
        decode(signal, encoding, &body, max_body_bytes, Timestamp::now())
    };
    let decoded: Result<Decoded, DecodeError> = state.decode_limiter().run(bytes, work).await?;
    let Decoded { submissions, cumulative, rejections } = decoded?;
    if submissions.is_empty() && cumulative.is_empty() && rejections.count() > 0 {
        // A request without any record to store is a bad request, not a partial success.
        return Err(ApiError::bad_request(rejections.message()));
    }
    if cumulative.is_empty() {
        submit(&state, submissions).await?;
    } else {
        // On its own task: the outcome must become known also if the client goes away.
        let (answer, answered) = oneshot::channel();
        let decoded = Decoded { submissions, cumulative, ..Decoded::default() };
        tokio::spawn(store_cumulative(state, decoded, answer));
        answered.await.unwrap_or_else(|_| Err(ApiError::shutting_down()))?;
    }
    Ok(rejections)
}

/// Stores metric points, for cumulative streams what was added to them, and sends the answer for the client.
///
/// The client gets its answer in time, but other points of the streams wait until the outcome is known: a
/// point that is sent again while the first try is pending would be counted twice.
async fn store_cumulative(state: AppState, decoded: Decoded, answer: oneshot::Sender<Result<(), ApiError>>) {
    let Decoded { mut submissions, cumulative, .. } = decoded;
    // A client that is gone needs no answer.
    let send = |result| drop(answer.send(result));
    let known = tokio::time::timeout(state.ack_within(), Claim::new(&state, cumulative)).await;
    let mut claim = match known {
        Ok(Ok(claim)) => claim,
        Ok(Err(error)) => return send(Err(error.into())),
        Err(_) => return send(Err(ApiError::not_committed())),
    };
    submissions.append(&mut claim.increments.take_submissions());
    if submissions.is_empty() {
        claim.stored();
        return send(Ok(()));
    }
    let mut pending = match Pending::submit(&state, submissions) {
        Ok(pending) => pending,
        Err(error) => return send(Err(error)),
    };
    let in_time = pending.wait(&state).await;
    let is_stored = in_time.is_ok();
    send(in_time);
    if is_stored || pending.outcome(&state).await {
        claim.stored();
    }
}

/// The sole use of the cumulative streams, from the conversion of a request's points until the outcome of
/// storing them is known.
///
/// Dropped without [`Claim::stored`], the increments may or may not be stored, so the store is asked for the
/// streams next time.
struct Claim<'a> {
    streams: MutexGuard<'a, Streams>,
    increments: Increments,
    has_store: bool,
}

impl<'a> Claim<'a> {
    /// Waits for other requests, asks the store for unknown streams, and converts `points`.
    async fn new(
        state: &'a AppState,
        points: Vec<telemetry_otlp::CumulativePoint>,
    ) -> Result<Self, QueryError> {
        let mut streams = state.streams().lock().await;
        let store = state.telemetry().store();
        if let Some(store) = &store {
            let unknown = streams.unknown(&points);
            if !unknown.is_empty() {
                streams.learn(store.stream_marks(&unknown).await?);
            }
        }
        let increments = streams.increments(points, store.is_some());
        Ok(Self { streams, increments, has_store: store.is_some() })
    }

    fn stored(mut self) {
        let increments = std::mem::take(&mut self.increments);
        self.streams.stored(increments);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.has_store {
            self.streams.forget(&self.increments);
        }
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, DecodeError> {
    Encoding::from_content_type(&text(headers, &header::CONTENT_TYPE))
}

/// Returns the text of a header, empty if it is absent.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Cow<'a, str> {
    headers.get(name).map_or(Cow::Borrowed(""), |value| String::from_utf8_lossy(value.as_bytes()))
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> Self {
        let status = match error {
            DecodeError::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            DecodeError::TooLarge { .. } | DecodeError::TooManyRecords => StatusCode::PAYLOAD_TOO_LARGE,
            DecodeError::Malformed(_) => StatusCode::BAD_REQUEST,
        };
        Self::Status(status, error.to_string())
    }
}
