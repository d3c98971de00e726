//! Adds a body to the errors that hyper answers itself: a request head that is too large or not valid HTTP.
//!
//! Hyper answers these before any handler sees the request, and with a status only.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use serde_json::json;
use telemetry_pipeline::random_trace_id;

/// A connection on which hyper's own error answers are replaced.
#[derive(Debug)]
pub(super) struct ErrorBodies<I> {
    io: I,
    /// The rest of the replacement, still to be written.
    replacement: Vec<u8>,
    /// Length of the answer that is being replaced, 0 if there is none.
    replaced: usize,
}

impl<I> ErrorBodies<I> {
    pub(super) const fn new(io: I) -> Self {
        Self { io, replacement: Vec::new(), replaced: 0 }
    }
}

/// The headers of an error answer of hyper. No other answer of this server has just these.
const HEADERS: &str = "\r\nconnection: close\r\ncontent-length: 0\r\ndate: ";

/// Descriptions of the errors that hyper answers.
const DETAILS: [(StatusCode, &str); 3] = [
    (StatusCode::BAD_REQUEST, "the request is not valid HTTP/1.1"),
    (StatusCode::URI_TOO_LONG, "the path is too long"),
    (
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "the request has too many headers, or its head is larger than `max_header_size`",
    ),
];

/// Returns the replacement for an answer, if that is an error of hyper.
fn replacement(answer: &[u8]) -> Option<Vec<u8>> {
    if answer.len() > 256 || !answer.starts_with(b"HTTP/1.1 4") {
        return None;
    }
    let rest = std::str::from_utf8(answer).ok()?.strip_prefix("HTTP/1.1 ")?;
    let (status, detail) = DETAILS.iter().find(|(status, _)| rest.starts_with(status.as_str()))?;
    let (line, date) = rest.split_once(HEADERS)?;
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

impl<I: Read + Unpin> Read for ErrorBodies<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: Write + Unpin> Write for ErrorBodies<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.replaced == 0 {
            let Some(replacement) = replacement(bytes) else {
                return Pin::new(&mut this.io).poll_write(context, bytes);
            };
            (this.replacement, this.replaced) = (replacement, bytes.len());
        }
        while !this.replacement.is_empty() {
            let written = ready!(Pin::new(&mut this.io).poll_write(context, &this.replacement))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.replacement.drain(..written);
        }
        Poll::Ready(Ok(std::mem::take(&mut this.replaced)))
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
        // Hyper writes an error as one part.
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
    fn an_error_of_hyper_gets_a_body_and_a_trace_id() {
        let date = "Tue, 24 Nov 2026 20:11:20 GMT\r\n\r\n";
        let answer = format!("HTTP/1.1 431 Request Header Fields Too Large{HEADERS}{date}");
        let replacement = String::from_utf8(replacement(answer.as_bytes()).unwrap()).unwrap();
        let (head, body) = replacement.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{head}");
        assert!(head.contains("\r\nx-trace-id: ") && head.ends_with("GMT"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        assert_eq!(
            body,
            r#"{"detail":"the request has too many headers, or its head is larger than `max_header_size`"}"#
        );
    }

    #[test]
    fn other_answers_are_not_replaced() {
        for other in [
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 0\r\ndate: ",
            "HTTP/1.1 400 Bad Request",
            "",
        ] {
            assert_eq!(replacement(other.as_bytes()), None, "{other}");
        }
    }
}
