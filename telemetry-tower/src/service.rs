//! The service that the layers make.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::metrics::Meter;
use crate::span::Tracer;
use crate::{ResponseBody, ResponseFuture};

/// A service whose requests are watched: measured by
/// [`RequestMetricsLayer`](crate::RequestMetricsLayer), traced by
/// [`RequestSpanLayer`](crate::RequestSpanLayer).
#[derive(Clone, Debug)]
pub struct Watched<S> {
    service: S,
    watcher: Watcher,
}

#[derive(Clone, Debug)]
pub(crate) enum Watcher {
    Meter(Arc<Meter>),
    Tracer(Arc<Tracer>),
}

impl<S> Watched<S> {
    pub(crate) const fn new(service: S, watcher: Watcher) -> Self {
        Self { service, watcher }
    }
}

impl<S, A, B> Service<Request<A>> for Watched<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let watched = match &self.watcher {
            Watcher::Meter(meter) => meter.watch(&request),
            Watcher::Tracer(tracer) => tracer.watch(&mut request),
        };
        ResponseFuture::call(&mut self.service, request, watched)
    }
}
