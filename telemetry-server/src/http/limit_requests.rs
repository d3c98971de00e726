//! The layer that applies the limits to every request.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::error::ApiError;
use crate::http::request_limiter::{Refusal, RequestLimiter, RequestPermit};

/// Processes a request within the limits, or refuses it. Also answers 500 if the handler panics.
pub(crate) async fn limit_requests(
    State(limiter): State<Arc<RequestLimiter>>,
    request: Request,
    next: Next,
) -> Response {
    let permit = limiter.permit(&request);
    let response = answer(&permit, limiter.limits.max_body_bytes, request, next).await;
    permit.answer(response.status());
    response.map(|body| Body::new(AnswerBody { body, _permit: permit }))
}

async fn answer(
    permit: &Arc<RequestPermit>,
    max_body_bytes: usize,
    request: Request,
    next: Next,
) -> Response {
    if declared_length(request.headers()).is_some_and(|length| length > max_body_bytes as u64) {
        let detail = format!("the body is larger than {max_body_bytes} bytes");
        return ApiError::Status(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response();
    }
    let request = if request.body().is_end_stream() {
        if let Err(refusal) = permit.start() {
            return refusal.into_response();
        }
        request
    } else {
        request.map(|body| Body::new(RequestBody::new(body, Arc::clone(permit))))
    };
    let Ok(response) = AssertUnwindSafe(next.run(request)).catch_unwind().await else {
        // The panic hook has printed the panic.
        let detail = "the server failed while it processed the request".to_owned();
        return ApiError::Status(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response();
    };
    match permit.refusal() {
        Some(refusal) => refusal.into_response(),
        None => response,
    }
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The body of a request: counts its bytes, and fails after the body timeout.
struct RequestBody {
    body: Body,
    permit: Arc<RequestPermit>,
    deadline: Instant,
    /// Created when the body has to be waited for. Most bodies have arrived by then.
    timer: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    fn new(body: Body, permit: Arc<RequestPermit>) -> Self {
        let deadline = Instant::now() + permit.limits().body_timeout;
        Self { body, permit, deadline, timer: None }
    }
}

fn refused(refusal: Refusal) -> axum::Error {
    axum::Error::new(std::io::Error::other(format!("{refusal:?}")))
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                Poll::Ready(Some(this.permit.add_body_bytes(bytes).map(|()| frame).map_err(refused)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => Poll::Ready(this.permit.start().err().map(|refusal| Err(refused(refusal)))),
            Poll::Pending => {
                let deadline = this.deadline;
                let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
                ready!(timer.as_mut().poll(context));
                Poll::Ready(Some(Err(refused(this.permit.refuse(Refusal::Late)))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer. The request ends when it is dropped.
struct AnswerBody {
    body: Body,
    _permit: Arc<RequestPermit>,
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
