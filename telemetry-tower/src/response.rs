//! The answer of a watched service: its future, and its body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use http::header::CONTENT_LENGTH;
use http::{Request, Response, response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::in_flight::InFlight;
use crate::status::FAILED;

pin_project! {
    /// The future of an answer. If it is dropped early, the request was cancelled.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        // `None` only after drop has taken it.
        #[pin]
        future: Option<F>,
        in_flight: Option<InFlight>,
    }

    impl<F> PinnedDrop for ResponseFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // What the service logs while it is dropped belongs to the request.
            let _entered = this.in_flight.as_ref().and_then(InFlight::enter);
            this.future.set(None);
        }
    }
}

impl<F> ResponseFuture<F> {
    /// Calls the service. Without an [`InFlight`], the request passes through.
    pub(crate) fn call<S, B>(service: &mut S, request: Request<B>, mut in_flight: Option<InFlight>) -> Self
    where
        S: Service<Request<B>, Future = F>,
    {
        let future = match &mut in_flight {
            Some(in_flight) => in_flight.run(|| service.call(request)),
            None => service.call(request),
        };
        Self { future: Some(future), in_flight }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Pending };
        let outcome = match this.in_flight {
            Some(in_flight) => ready!(in_flight.run(|| future.poll(context))),
            None => ready!(future.poll(context)),
        };
        let in_flight = this.in_flight.take();
        Poll::Ready(match outcome {
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                let body = ResponseBody::new(&mut head, body, in_flight);
                Ok(Response::from_parts(head, body))
            }
            Err(error) => {
                if let Some(in_flight) = in_flight {
                    in_flight.end_with(FAILED);
                }
                Err(error)
            }
        })
    }
}

pin_project! {
    /// The body of an answer. If it is dropped before its end, the request was cancelled.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        // `None` only after drop has taken it.
        #[pin]
        body: Option<B>,
        in_flight: Option<InFlight>,
        // Bytes that are still to come, if the body or the head of the answer has announced how many.
        left: Option<u64>,
    }

    impl<B> PinnedDrop for ResponseBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.in_flight.as_ref().and_then(InFlight::enter);
            this.body.set(None);
        }
    }
}

impl<B: Body> ResponseBody<B> {
    /// Watches a body until its end. If there will be no body, this ends the request.
    pub(crate) fn new(head: &mut response::Parts, body: B, mut in_flight: Option<InFlight>) -> Self {
        let left = body.size_hint().exact().or_else(|| content_length(head));
        let ended = in_flight.take_if(|in_flight| {
            let has_no_body = in_flight.record_head(head);
            has_no_body || left == Some(0) || body.is_end_stream()
        });
        if let Some(ended) = ended {
            ended.end();
        }
        Self { body: Some(body), in_flight, left }
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
        let Some(in_flight) = this.in_flight else { return body.poll_frame(context) };
        let frame = ready!(in_flight.run(|| body.as_mut().poll_frame(context)));
        let is_last = match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    in_flight.record_grpc_status(trailers);
                }
                if let (Some(left), Some(data)) = (this.left.as_mut(), frame.data_ref()) {
                    *left = left.saturating_sub(data.remaining() as u64);
                }
                // A server that knows the length does not poll again after the last byte.
                body.is_end_stream() || *this.left == Some(0)
            }
            Some(Err(_)) | None => true,
        };
        if is_last && let Some(in_flight) = this.in_flight.take() {
            match &frame {
                Some(Err(_)) => in_flight.end_with(FAILED),
                Some(Ok(_)) | None => in_flight.end(),
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
