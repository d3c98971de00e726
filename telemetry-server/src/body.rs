//! JSON bodies: what counts as one, and how large it may be.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use telemetry_core::wire::{self, Problems};

use crate::decoders::Decoders;
use crate::error::ApiError;

/// A body that says it is JSON, or nothing at all. A missing content type is taken as JSON.
#[derive(Debug)]
pub(crate) struct JsonBody {
    bytes: Bytes,
    decoders: Decoders,
}

impl JsonBody {
    /// What `read` makes of it, or all problems. The JSON is dropped here: it may be many times as large
    /// as what is made of it, and an answer can take a while.
    pub(crate) async fn read<T: Send + 'static>(
        self,
        read: impl FnOnce(&Value, &mut Problems) -> Option<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let Self { bytes, decoders } = self;
        let size = bytes.len();
        let work = move || {
            if size > 2 * MAX_VALUES && values(&bytes) > MAX_VALUES {
                let detail = format!("the body has more than {MAX_VALUES} values; send it in parts");
                return Err(ApiError::Status(StatusCode::PAYLOAD_TOO_LARGE, detail));
            }
            let mut problems = Problems::default();
            Ok(read(&wire::parse(&bytes)?, &mut problems).ok_or(problems)?)
        };
        decoders.run(Some(size), work).await?
    }
}

impl<S: Send + Sync> FromRequest<S> for JsonBody
where
    Decoders: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            let detail = "the content type must be application/json";
            return Err(ApiError::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail.into()));
        }
        if let Some(encoding) = encoding(request.headers()) {
            let detail =
                format!("the content encoding `{encoding}` is not taken here; send the JSON as it is");
            return Err(ApiError::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| refused(&rejection))?;
        Ok(Self { bytes, decoders: Decoders::from_ref(state) })
    }
}

/// A value takes some 70 bytes of memory and as few as two of a body.
const MAX_VALUES: usize = 1 << 20;

/// How many values a JSON text has at most: each but the first stands after a comma or an opening bracket.
fn values(json: &[u8]) -> usize {
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

/// How the body is encoded, if it is.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let named = values.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    let mut encoded = named.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"));
    encoded.next()
}

fn refused(rejection: &BytesRejection) -> ApiError {
    ApiError::Status(rejection.status(), rejection.body_text())
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    #[test]
    fn values_in_texts_do_not_count() {
        for (json, expected) in
            [("1", 1), ("[1,2,3]", 4), (r#"{"a":[],"b":"[,,{"}"#, 4), (r#"["\",,","\\",2]"#, 4), ("", 1)]
        {
            assert_eq!(values(json.as_bytes()), expected, "{json}");
        }
    }

    #[tokio::test]
    async fn a_compressed_body_is_told_that_it_can_t_be_read() {
        for (encoding, status) in [("gzip", Some(415)), ("br", Some(415)), ("identity", None), ("", None)] {
            let request = Request::post("/").header("content-encoding", encoding).body("1".into()).unwrap();
            let refused = JsonBody::from_request(request, &Decoders::new()).await.err();
            assert_eq!(refused.map(|error| error.into_response().status().as_u16()), status, "{encoding}");
        }
    }
}
