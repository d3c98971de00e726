//! The outermost layer: every request gets a ticket, and is refused where the server is at a bound.

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
use crate::http::ticket::{Refusal, Ticket};
use crate::state::AppState;

pub(crate) async fn admit(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let admission = state.admission();
    let ticket = admission.ticket(&request);
    let response = answer(&ticket, admission.limits.max_body_bytes, request, next).await;
    ticket.answer(response.status());
    response.map(|body| Body::new(AnswerBody { body, _ticket: ticket }))
}

async fn answer(ticket: &Arc<Ticket>, max_body_bytes: usize, request: Request, next: Next) -> Response {
    if declared_length(request.headers()).is_some_and(|length| length > max_body_bytes as u64) {
        let detail = format!("the body is larger than {max_body_bytes} bytes");
        return ApiError::Status(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response();
    }
    let request = if request.body().is_end_stream() {
        if let Err(refusal) = ticket.run() {
            return refusal.into_response();
        }
        request
    } else {
        request.map(|body| Body::new(RequestBody::new(body, Arc::clone(ticket))))
    };
    let Ok(response) = AssertUnwindSafe(next.run(request)).catch_unwind().await else {
        // The panic itself was printed by its hook.
        let detail = "the server failed to answer this".to_owned();
        return ApiError::Status(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response();
    };
    match ticket.refusal() {
        Some(refusal) => refusal.into_response(),
        None => response,
    }
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A request's body: counted, and on time.
struct RequestBody {
    body: Body,
    ticket: Arc<Ticket>,
    deadline: Instant,
    /// Made once the body is waited for: most are there already.
    timer: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    fn new(body: Body, ticket: Arc<Ticket>) -> Self {
        let deadline = Instant::now() + ticket.limits().body_timeout;
        Self { body, ticket, deadline, timer: None }
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
                Poll::Ready(Some(this.ticket.hold(bytes).map(|()| frame).map_err(refused)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => Poll::Ready(this.ticket.run().err().map(|refusal| Err(refused(refusal)))),
            Poll::Pending => {
                let deadline = this.deadline;
                let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
                ready!(timer.as_mut().poll(context));
                Poll::Ready(Some(Err(refused(this.ticket.refuse(Refusal::Late)))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body: the request ends with it.
struct AnswerBody {
    body: Body,
    _ticket: Arc<Ticket>,
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
