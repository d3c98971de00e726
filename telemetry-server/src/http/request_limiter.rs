//! The limits that all requests share: bytes of their bodies, and requests that are processed at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;
use crate::exposition::HttpMetrics;
use crate::http::connections::Connection;
use crate::limits::Limits;

/// What all requests use now, and the limits for it.
#[derive(Debug)]
pub(crate) struct RequestLimiter {
    pub(super) limits: Limits,
    http_metrics: HttpMetrics,
    running: AtomicUsize,
    body_bytes: AtomicUsize,
}

/// Why a request was not processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The body did not arrive in time.
    Late,
    /// The bodies of all requests together are too large.
    Full,
    /// Too many requests are processed.
    Busy,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Late => {
                let detail = "the body did not arrive in time".to_owned();
                ApiError::Status(StatusCode::REQUEST_TIMEOUT, detail)
            }
            Self::Full => ApiError::unavailable(
                "the bodies of all requests together are larger than `max_held_size`; try again later",
            ),
            Self::Busy => ApiError::unavailable(
                "the server is processing `max_requests` requests already; try again later",
            ),
        };
        let mut response = error.into_response();
        // The rest of the body is never read.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

/// The share of one request. Dropping the last clone of its `Arc` returns it.
#[derive(Debug)]
pub(super) struct RequestPermit {
    limiter: Arc<RequestLimiter>,
    connection: Option<Arc<Connection>>,
    method: Method,
    route: Option<MatchedPath>,
    began: Instant,
    status: OnceLock<StatusCode>,
    is_running: AtomicBool,
    body_bytes: AtomicUsize,
    refusal: Mutex<Option<Refusal>>,
}

impl RequestLimiter {
    pub(crate) fn new(limits: Limits, http_metrics: HttpMetrics) -> Arc<Self> {
        Arc::new(Self { limits, http_metrics, running: AtomicUsize::new(0), body_bytes: AtomicUsize::new(0) })
    }

    /// Starts to count a request.
    pub(super) fn permit(self: &Arc<Self>, request: &Request) -> Arc<RequestPermit> {
        self.http_metrics.begin();
        let extensions = request.extensions();
        Arc::new(RequestPermit {
            limiter: Arc::clone(self),
            connection: extensions.get::<Arc<Connection>>().cloned(),
            method: request.method().clone(),
            route: extensions.get::<MatchedPath>().cloned(),
            began: Instant::now(),
            status: OnceLock::new(),
            is_running: AtomicBool::new(false),
            body_bytes: AtomicUsize::new(0),
            refusal: Mutex::default(),
        })
    }
}

impl RequestPermit {
    pub(super) fn limits(&self) -> &Limits {
        &self.limiter.limits
    }

    /// Counts `bytes` more of the body.
    pub(super) fn add_body_bytes(&self, bytes: usize) -> Result<(), Refusal> {
        let before = self.limiter.body_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.body_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > self.limiter.limits.max_held_bytes {
            return Err(self.refuse(Refusal::Full));
        }
        Ok(())
    }

    /// Starts the processing of the request, which has arrived completely.
    pub(super) fn start(&self) -> Result<(), Refusal> {
        if self.is_running.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let before = self.limiter.running.fetch_add(1, Ordering::Relaxed);
        if before >= self.limiter.limits.max_requests {
            return Err(self.refuse(Refusal::Busy));
        }
        if let Some(connection) = &self.connection {
            connection.start_request();
        }
        Ok(())
    }

    /// Remembers why the request is not processed.
    pub(super) fn refuse(&self, refusal: Refusal) -> Refusal {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
        refusal
    }

    pub(super) fn refusal(&self) -> Option<Refusal> {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the status of the answer. The body has been decoded, so its bytes no longer count.
    pub(super) fn answer(&self, status: StatusCode) {
        let _ = self.status.set(status);
        self.release_body();
    }

    fn release_body(&self) {
        self.limiter.body_bytes.fetch_sub(self.body_bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.release_body();
        // The status that nginx logs when the client goes away before there is an answer.
        let gone = StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT);
        let status = self.status.get().copied().unwrap_or(gone);
        let route = self.route.as_ref().map_or("", MatchedPath::as_str);
        self.limiter.http_metrics.end(&self.method, route, status, self.began.elapsed());
        if *self.is_running.get_mut() {
            self.limiter.running.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(connection) = &self.connection {
            connection.start_waiting();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::Registry;

    #[test]
    fn a_dropped_permit_is_returned() {
        let limits = Limits { max_held_bytes: 10, max_requests: 1, ..Limits::default() };
        let limiter = RequestLimiter::new(limits, HttpMetrics::new(&mut Registry::default()));
        let permit = || limiter.permit(&Request::default());
        let first = permit();
        assert_eq!((first.add_body_bytes(10), first.start()), (Ok(()), Ok(())));
        let second = permit();
        assert_eq!(second.add_body_bytes(1), Err(Refusal::Full));
        assert_eq!(second.start(), Err(Refusal::Busy));
        drop((first, second));
        let third = permit();
        assert_eq!((third.add_body_bytes(10), third.start(), third.start()), (Ok(()), Ok(()), Ok(())));
        third.answer(StatusCode::OK);
        assert_eq!(permit().add_body_bytes(10), Ok(()));
    }
}
