//! The body of an answer: a request lasts until its last byte.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use http::header::CONTENT_LENGTH;
use http::response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::in_flight::{FAILED, InFlight};

pin_project! {
    /// The body of a watched answer; dropped before its end, the request was cancelled.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        // Taken out by drop alone.
        #[pin]
        body: Option<B>,
        request: Option<InFlight>,
        // Bytes that are still to come, where the body or its head has said how many.
        left: Option<u64>,
    }

    impl<B> PinnedDrop for ResponseBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.request.as_ref().and_then(InFlight::enter);
            this.body.set(None);
        }
    }
}

impl<B: Body> ResponseBody<B> {
    /// Watches the body until its end; where nothing will come, the request has ended.
    pub(crate) fn new(head: &mut response::Parts, body: B, mut request: Option<InFlight>) -> Self {
        let left = body.size_hint().exact().or_else(|| content_length(head));
        if let Some(mut watched) = request.take() {
            let is_bodiless = watched.answer(head);
            if is_bodiless || left == Some(0) || body.is_end_stream() {
                watched.end();
            } else {
                request = Some(watched);
            }
        }
        Self { body: Some(body), request, left }
    }
}

fn content_length(head: &response::Parts) -> Option<u64> {
    head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(mut body) = this.body.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let Some(request) = this.request else { return body.poll_frame(context) };
        let frame = ready!(request.run(|| body.as_mut().poll_frame(context)));
        let is_last = match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    request.note_grpc_status(trailers);
                }
                if let (Some(left), Some(data)) = (this.left.as_mut(), frame.data_ref()) {
                    *left = left.saturating_sub(data.remaining() as u64);
                }
                // Servers don't ask again where they know that nothing follows.
                body.is_end_stream() || *this.left == Some(0)
            }
            Some(Err(_)) | None => true,
        };
        if is_last && let Some(request) = this.request.take() {
            match &frame {
                Some(Err(_)) => request.end_with(FAILED),
                Some(Ok(_)) | None => request.end(),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
