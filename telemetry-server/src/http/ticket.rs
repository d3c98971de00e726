//! What one request holds: bytes of its body, a place among those worked on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::Limits;
use crate::error::ApiError;
use crate::http::connections::Connection;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) limits: Limits,
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
    is_running: AtomicBool,
    held_bytes: AtomicUsize,
    refusal: Mutex<Option<Refusal>>,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, running: AtomicUsize::new(0), held_bytes: AtomicUsize::new(0) })
    }

    /// A ticket for a request of `connection`, where there is one.
    pub(crate) fn ticket(self: &Arc<Self>, connection: Option<Arc<Connection>>) -> Arc<Ticket> {
        Arc::new(Ticket {
            admission: Arc::clone(self),
            connection,
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

    /// The body has been read and made into something else.
    pub(crate) fn release(&self) {
        self.admission.held_bytes.fetch_sub(self.held_bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.release();
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

    #[test]
    fn what_a_request_held_is_given_back() {
        let limits = Limits { max_held_bytes: 10, max_requests: 1, ..Limits::default() };
        let admission = Admission::new(limits);
        let first = admission.ticket(None);
        assert_eq!((first.hold(10), first.run()), (Ok(()), Ok(())));
        let second = admission.ticket(None);
        assert_eq!(second.hold(1), Err(Refusal::Full));
        assert_eq!(second.run(), Err(Refusal::Busy));
        drop((first, second));
        let third = admission.ticket(None);
        assert_eq!((third.hold(10), third.run(), third.run()), (Ok(()), Ok(()), Ok(())));
        third.release();
        assert_eq!(admission.ticket(None).hold(10), Ok(()));
    }
}
