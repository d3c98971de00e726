//! JSON bodies of requests, and their limits.

use axum::body::Bytes;
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use telemetry_core::wire::{self, Problems};

use crate::error::ApiError;
use crate::http::DecodeLimiter;

/// A body in JSON. A request without a content type counts as JSON.
#[derive(Debug)]
pub(super) struct JsonBody {
    bytes: Bytes,
    decode_limiter: DecodeLimiter,
}

impl JsonBody {
    /// Parses the body and converts it with `read`. Fails with all problems that `read` reports.
    ///
    /// Drops the parsed JSON before it returns, because that can be many times as large as the result.
    pub(super) async fn read<T: Send + 'static>(
        self,
        read: impl FnOnce(&Value, &mut Problems) -> Option<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let size = self.bytes.len();
        self.read_as(size, read).await
    }

    /// As [`JsonBody::read`], for conversions that take longer than the body's size suggests, as those that compile
    /// regular expressions. They never run on the thread that serves the connection.
    pub(super) async fn read_slowly<T: Send + 'static>(
        self,
        read: impl FnOnce(&Value, &mut Problems) -> Option<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let size = self.bytes.len().max(DecodeLimiter::LARGE);
        self.read_as(size, read).await
    }

    async fn read_as<T: Send + 'static>(
        self,
        decoded_as: usize,
        read: impl FnOnce(&Value, &mut Problems) -> Option<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let Self { bytes, decode_limiter } = self;
        let size = bytes.len();
        let work = move || {
            if size > 2 * MAX_VALUES && max_values(&bytes) > MAX_VALUES {
                let detail =
                    format!("the body has more than {MAX_VALUES} JSON values; send several smaller requests");
                return Err(ApiError::Status(StatusCode::PAYLOAD_TOO_LARGE, detail));
            }
            let mut problems = Problems::default();
            Ok(read(&wire::parse(&bytes)?, &mut problems).ok_or(problems)?)
        };
        decode_limiter.run(Some(decoded_as), work).await?
    }
}

impl<S: Send + Sync> FromRequest<S> for JsonBody
where
    DecodeLimiter: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            let detail = "unsupported content type: expected application/json";
            return Err(ApiError::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail.into()));
        }
        if let Some(encoding) = content_encoding(request.headers()) {
            let detail = format!("unsupported content encoding `{encoding}`: send the JSON uncompressed");
            return Err(ApiError::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| ApiError::Status(rejection.status(), rejection.body_text()))?;
        Ok(Self { bytes, decode_limiter: DecodeLimiter::from_ref(state) })
    }
}

/// Largest number of JSON values in a body. A value takes about 70 bytes of memory, and may take only two of
/// the body.
const MAX_VALUES: usize = 1 << 20;

/// Returns an upper bound for the number of values in a JSON text: each value except the first follows a
/// comma or an opening bracket.
fn max_values(json: &[u8]) -> usize {
    let (mut count, mut in_text, mut escaped) = (1, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let Ok(value) = value.to_str() else { return false };
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.is_empty()
        || media_type.eq_ignore_ascii_case("application/json")
        || media_type.to_ascii_lowercase().ends_with("+json")
}

/// Returns the content encoding other than `identity`.
fn content_encoding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let named = values.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    let mut encoded = named.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"));
    encoded.next()
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    #[test]
    fn brackets_and_commas_in_texts_do_not_count() {
        for (json, expected) in
            [("1", 1), ("[1,2,3]", 4), (r#"{"a":[],"b":"[,,{"}"#, 4), (r#"["\",,","\\",2]"#, 4), ("", 1)]
        {
            assert_eq!(max_values(json.as_bytes()), expected, "{json}");
        }
    }

    #[tokio::test]
    async fn a_compressed_body_is_answered_415() {
        for (encoding, status) in [("gzip", Some(415)), ("br", Some(415)), ("identity", None), ("", None)] {
            let request = Request::post("/").header("content-encoding", encoding).body("1".into()).unwrap();
            let refused = JsonBody::from_request(request, &DecodeLimiter::new()).await.err();
            assert_eq!(refused.map(|error| error.into_response().status().as_u16()), status, "{encoding}");
        }
    }
}
