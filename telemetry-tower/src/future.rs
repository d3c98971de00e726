//! The future of an answer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::ResponseBody;
use crate::in_flight::{FAILED, InFlight};

pin_project! {
    /// The answer of a watched service; dropped before it is there, the request was cancelled.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        // Taken out by drop alone.
        #[pin]
        future: Option<F>,
        request: Option<InFlight>,
    }

    impl<F> PinnedDrop for ResponseFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // What the service says while it is dropped belongs to the request too.
            let _entered = this.request.as_ref().and_then(InFlight::enter);
            this.future.set(None);
        }
    }
}

impl<F> ResponseFuture<F> {
    /// Calls the service. A request of `None` is passed through.
    pub(crate) fn call<S, B>(service: &mut S, request: Request<B>, mut watched: Option<InFlight>) -> Self
    where
        S: Service<Request<B>, Future = F>,
    {
        let future = match &mut watched {
            Some(watched) => watched.run(|| service.call(request)),
            None => service.call(request),
        };
        Self { future: Some(future), request: watched }
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
        let outcome = match this.request {
            Some(request) => ready!(request.run(|| future.poll(context))),
            None => ready!(future.poll(context)),
        };
        let request = this.request.take();
        Poll::Ready(match outcome {
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                let body = ResponseBody::new(&mut head, body, request);
                Ok(Response::from_parts(head, body))
            }
            Err(error) => {
                if let Some(request) = request {
                    request.end_with(FAILED);
                }
                Err(error)
            }
        })
    }
}
