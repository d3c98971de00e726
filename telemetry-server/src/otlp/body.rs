//! From a request's bytes to the encoded message: encoding, compression, limits.

use std::borrow::Cow;
use std::io::Read;

use axum::http::{HeaderMap, HeaderName, header};
use flate2::read::MultiGzDecoder;

/// How a message is encoded; the answer is encoded in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`; also a request without a content type.
    Json,
}

/// Why a body can't be read at all.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Neither protobuf nor JSON, or a compression we don't know: 415.
    #[error("{0}")]
    Unsupported(String),
    /// Larger than allowed, before or after decompression: 413.
    #[error("the body is larger than {limit} bytes once decompressed; send fewer records per request")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// More records than memory is meant for: 413.
    #[error("the body holds too many records; send fewer per request")]
    TooMany,
    /// Not what its headers say: 400.
    #[error("{0}")]
    Malformed(String),
}

impl Encoding {
    /// The encoding a request names in its content type.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let named = text(headers, &header::CONTENT_TYPE)?;
        let media_type = named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media_type.as_str() {
            "application/x-protobuf" | "application/protobuf" => Ok(Self::Protobuf),
            "" | "application/json" => Ok(Self::Json),
            other => {
                let expected = "use application/x-protobuf or application/json";
                Err(Refusal::Unsupported(format!(
                    "the content type `{other}` is not OTLP over HTTP; {expected}"
                )))
            }
        }
    }

    /// The content type of answers.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, Refusal> {
    let Some(value) = headers.get(name) else { return Ok("") };
    value.to_str().map_err(|_| Refusal::Unsupported(format!("the header {name} is no text")))
}

/// The window that zstd decoders must support (RFC 8878) is 8 MiB; a larger one would only be memory
/// that a stranger makes us spend.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Not at all.
    None,
    /// `gzip`.
    Gzip,
    /// `zstd`.
    Zstd,
}

impl Compression {
    /// The compression a request names in its content encoding.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        match text(headers, &header::CONTENT_ENCODING)?.trim().to_ascii_lowercase().as_str() {
            "" | "identity" | "none" => Ok(Self::None),
            // The second is its older name (RFC 9110, 8.4.1.3).
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            other => {
                let text = format!("the content encoding `{other}` is unknown; use gzip or zstd");
                Err(Refusal::Unsupported(text))
            }
        }
    }

    /// Undoes it, up to `limit` bytes.
    pub(crate) fn undo(self, body: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, Refusal> {
        let bytes = match self {
            Self::None => return Ok(Cow::Borrowed(body)),
            Self::Gzip => read(MultiGzDecoder::new(body), limit),
            Self::Zstd => zstd::stream::read::Decoder::with_buffer(body).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                read(decoder, limit)
            }),
        };
        let bytes = bytes.map_err(|error| {
            Refusal::Malformed(format!("the body is not compressed as its header says: {error}"))
        })?;
        if bytes.len() > limit { Err(Refusal::TooLarge { limit }) } else { Ok(Cow::Owned(bytes)) }
    }
}

/// Reads a byte more than allowed at most.
fn read(decoder: impl Read, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    decoder.take((limit as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_content_type_is_read_whatever_its_case_and_parameters() {
        let of = |value| Encoding::of(&headers(header::CONTENT_TYPE, value));
        assert_eq!(of("Application/X-Protobuf"), Ok(Encoding::Protobuf));
        assert_eq!(of("application/json; charset=utf-8"), Ok(Encoding::Json));
        assert_eq!(Encoding::of(&HeaderMap::new()), Ok(Encoding::Json));
        assert!(matches!(of("text/plain"), Err(Refusal::Unsupported(_))));
    }

    #[test]
    fn what_was_compressed_comes_back() {
        let zstd = zstd::encode_all(&b"spans"[..], 3).unwrap();
        for (name, body) in [
            ("gzip", gzip(b"spans")),
            ("X-Gzip", gzip(b"spans")),
            ("zstd", zstd),
            ("identity", b"spans".to_vec()),
        ] {
            let compression = Compression::of(&headers(header::CONTENT_ENCODING, name)).unwrap();
            assert_eq!(compression.undo(&body, 5).unwrap().as_ref(), b"spans", "{name}");
            let is_too_large = compression.undo(&body, 4) == Err(Refusal::TooLarge { limit: 4 });
            assert_eq!(is_too_large, name != "identity", "{name}");
        }
    }

    #[test]
    fn a_bomb_costs_no_more_than_the_limit() {
        let zeros = vec![0; 32 << 20];
        let zstd = zstd::encode_all(&zeros[..], 3).unwrap();
        for (compression, bomb) in [(Compression::Gzip, gzip(&zeros)), (Compression::Zstd, zstd)] {
            assert!(bomb.len() < 64 << 10, "{compression:?}: {}", bomb.len());
            let refused = compression.undo(&bomb, 1 << 20);
            assert_eq!(refused, Err(Refusal::TooLarge { limit: 1 << 20 }), "{compression:?}");
        }
    }

    #[test]
    fn what_is_not_compressed_as_named_is_told() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let refused = compression.undo(b"spans", 100);
            assert!(matches!(refused, Err(Refusal::Malformed(_))), "{compression:?}: {refused:?}");
        }
        let refused = Compression::of(&headers(header::CONTENT_ENCODING, "br"));
        assert!(matches!(refused, Err(Refusal::Unsupported(_))), "{refused:?}");
    }
}
