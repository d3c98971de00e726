//! What one request holds: bytes of its body, a place among those worked on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::Limits;
use crate::error::ApiError;
use crate::exposition::Requests;
use crate::http::connections::Connection;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) limits: Limits,
    requests: Requests,
    running: AtomicUsize,
    held_bytes: AtomicUsize,
}

/// Why a request was not worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The body did not come in time.
    Late,
    /// The bodies of all requests hold too much.
    Full,
    /// Too many requests are worked on.
    Busy,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Late => {
                let detail = "the body did not come in time".to_owned();
                ApiError::Status(StatusCode::REQUEST_TIMEOUT, detail)
            }
            Self::Full => ApiError::unavailable("the server holds as much as it may; try again later"),
            Self::Busy => {
                ApiError::unavailable("the server works on as many requests as it may; try again later")
            }
        };
        let mut response = error.into_response();
        // The rest of the body is not read.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

/// One request; what it holds is given back when the last clone of its `Arc` goes.
#[derive(Debug)]
pub(crate) struct Ticket {
    admission: Arc<Admission>,
    connection: Option<Arc<Connection>>,
    method: Method,
    route: Option<MatchedPath>,
    began: Instant,
    status: OnceLock<StatusCode>,
    is_running: AtomicBool,
    held_bytes: AtomicUsize,
    refusal: Mutex<Option<Refusal>>,
}

impl Admission {
    pub(crate) fn new(limits: Limits, requests: Requests) -> Arc<Self> {
        Arc::new(Self { limits, requests, running: AtomicUsize::new(0), held_bytes: AtomicUsize::new(0) })
    }

    /// A ticket for a request.
    pub(crate) fn ticket(self: &Arc<Self>, request: &Request) -> Arc<Ticket> {
        self.requests.begin();
        let extensions = request.extensions();
        Arc::new(Ticket {
            admission: Arc::clone(self),
            connection: extensions.get::<Arc<Connection>>().cloned(),
            method: request.method().clone(),
            route: extensions.get::<MatchedPath>().cloned(),
            began: Instant::now(),
            status: OnceLock::new(),
            is_running: AtomicBool::new(false),
            held_bytes: AtomicUsize::new(0),
            refusal: Mutex::default(),
        })
    }
}

impl Ticket {
    pub(crate) fn limits(&self) -> &Limits {
        &self.admission.limits
    }

    /// Holds `bytes` more of the body.
    pub(crate) fn hold(&self, bytes: usize) -> Result<(), Refusal> {
        let before = self.admission.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > self.admission.limits.max_held_bytes {
            return Err(self.refuse(Refusal::Full));
        }
        Ok(())
    }

    /// The request is complete: it is worked on from now.
    pub(crate) fn run(&self) -> Result<(), Refusal> {
        if self.is_running.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let before = self.admission.running.fetch_add(1, Ordering::Relaxed);
        if before >= self.admission.limits.max_requests {
            return Err(self.refuse(Refusal::Busy));
        }
        if let Some(connection) = &self.connection {
            connection.work();
        }
        Ok(())
    }

    /// Remembers why the request is not worked on.
    pub(crate) fn refuse(&self, refusal: Refusal) -> Refusal {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
        refusal
    }

    pub(crate) fn refusal(&self) -> Option<Refusal> {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer begins: the body has been read and made into something else.
    pub(crate) fn answer(&self, status: StatusCode) {
        let _ = self.status.set(status);
        self.release();
    }

    fn release(&self) {
        self.admission.held_bytes.fetch_sub(self.held_bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.release();
        // The client went away before there was an answer: nginx's status for it.
        let gone = StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT);
        let status = self.status.get().copied().unwrap_or(gone);
        let route = self.route.as_ref().map_or("", MatchedPath::as_str);
        self.admission.requests.end(&self.method, route, status, self.began.elapsed());
        if *self.is_running.get_mut() {
            self.admission.running.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(connection) = &self.connection {
            connection.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::Registry;

    #[test]
    fn what_a_request_held_is_given_back() {
        let limits = Limits { max_held_bytes: 10, max_requests: 1, ..Limits::default() };
        let admission = Admission::new(limits, Requests::new(&mut Registry::default()));
        let ticket = || admission.ticket(&Request::default());
        let first = ticket();
        assert_eq!((first.hold(10), first.run()), (Ok(()), Ok(())));
        let second = ticket();
        assert_eq!(second.hold(1), Err(Refusal::Full));
        assert_eq!(second.run(), Err(Refusal::Busy));
        drop((first, second));
        let third = ticket();
        assert_eq!((third.hold(10), third.run(), third.run()), (Ok(()), Ok(()), Ok(())));
        third.answer(StatusCode::OK);
        assert_eq!(ticket().hold(10), Ok(()));
    }
}
