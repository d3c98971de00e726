//! Answers of the form `{"data":[…]}`, sent page by page so that only one page is in memory.

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use telemetry_core::Pages;

use crate::error::ApiError;

/// Streams the items of all pages.
///
/// Reads the first page before the status is sent, so an error there has its own status. A later error ends
/// the body early, which is then not valid JSON.
pub(super) async fn paged_answer<T: Send + 'static>(
    mut pages: Pages<T>,
    json: impl Fn(T) -> Value + Send + 'static,
) -> Result<Response, ApiError> {
    let first = match pages.next().await {
        Some(page) => page?,
        None => Vec::new(),
    };
    let mut is_first = true;
    let mut write = move |page: Vec<T>| {
        let mut text = String::new();
        for item in page {
            text.push_str(if is_first { "" } else { "," });
            text.push_str(&json(item).to_string());
            is_first = false;
        }
        text
    };
    let head = format!("{{\"data\":[{}", write(first));
    let rest = pages.map(move |page| page.map(&mut write));
    let tail = stream::once(async { Ok("]}".to_owned()) });
    let body = stream::once(async { Ok(head) }).chain(rest).chain(tail).map(|part| part.map(Bytes::from));
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response())
}
