//! What hyper refuses by itself, before any of our code sees a request: a head that is too large or is no
//! HTTP. Its answer says nothing but the status; here it gets what every answer of ours has.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use serde_json::json;
use telemetry_pipeline::random_trace_id;

/// A connection on which hyper's own refusals become ours.
#[derive(Debug)]
pub(super) struct Told<I> {
    io: I,
    /// What is still to be written in the place of a refusal.
    ours: Vec<u8>,
    /// Bytes of the refusal.
    theirs: usize,
}

impl<I> Told<I> {
    pub(super) const fn new(io: I) -> Self {
        Self { io, ours: Vec::new(), theirs: 0 }
    }
}

/// How hyper ends the head of a refusal. No other answer here is empty and has these lines first.
const BARE: &str = "\r\nconnection: close\r\ncontent-length: 0\r\ndate: ";

/// What is said for the refusals that hyper writes.
const DETAILS: [(StatusCode, &str); 3] = [
    (StatusCode::BAD_REQUEST, "this is no request of HTTP 1.1"),
    (StatusCode::URI_TOO_LONG, "the path is too long"),
    (
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "the head of the request is too large, or has too many headers",
    ),
];

/// Our answer in the place of what is about to be written, if that is hyper's own.
fn ours(theirs: &[u8]) -> Option<Vec<u8>> {
    if theirs.len() > 256 || !theirs.starts_with(b"HTTP/1.1 4") {
        return None;
    }
    let rest = std::str::from_utf8(theirs).ok()?.strip_prefix("HTTP/1.1 ")?;
    let (status, detail) = DETAILS.iter().find(|(status, _)| rest.starts_with(status.as_str()))?;
    let (line, date) = rest.split_once(BARE)?;
    if line.contains('\r') {
        return None;
    }
    let body = json!({"detail": detail}).to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-trace-id: {}\r\nconnection: close\r\ncontent-length: {}\r\ndate: {date}",
        random_trace_id(),
        body.len()
    );
    Some((head + &body).into_bytes())
}

impl<I: Read + Unpin> Read for Told<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: Write + Unpin> Write for Told<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.theirs == 0 {
            let Some(ours) = ours(bytes) else { return Pin::new(&mut this.io).poll_write(context, bytes) };
            (this.ours, this.theirs) = (ours, bytes.len());
        }
        while !this.ours.is_empty() {
            let written = ready!(Pin::new(&mut this.io).poll_write(context, &this.ours))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.ours.drain(..written);
        }
        Poll::Ready(Ok(std::mem::take(&mut this.theirs)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A refusal is one part.
        match parts {
            [only] => self.poll_write(context, only),
            _ => Pin::new(&mut self.io).poll_write_vectored(context, parts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_hyper_gets_a_sentence_and_a_trace_id() {
        let date = "Tue, 24 Nov 2026 20:11:20 GMT\r\n\r\n";
        let theirs = format!("HTTP/1.1 431 Request Header Fields Too Large{BARE}{date}");
        let ours = String::from_utf8(ours(theirs.as_bytes()).unwrap()).unwrap();
        let (head, body) = ours.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{head}");
        assert!(head.contains("\r\nx-trace-id: ") && head.ends_with("GMT"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        assert_eq!(body, r#"{"detail":"the head of the request is too large, or has too many headers"}"#);
    }

    #[test]
    fn nothing_else_is_touched() {
        for other in [
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 0\r\ndate: ",
            "HTTP/1.1 400 Bad Request",
            "",
        ] {
            assert_eq!(ours(other.as_bytes()), None, "{other}");
        }
    }
}
