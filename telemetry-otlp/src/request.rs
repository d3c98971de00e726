//! What a request carries and how it is encoded and compressed.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// What an OTLP request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpSignal {
    /// Spans: `POST /v1/traces`.
    Traces,
    /// Metrics: `POST /v1/metrics`.
    Metrics,
    /// Log records: `POST /v1/logs`.
    Logs,
}

impl OtlpSignal {
    /// Every signal.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// Returns the path of the signal's requests in OTLP over HTTP.
    ///
    /// ```
    /// assert_eq!(telemetry_otlp::OtlpSignal::Traces.path(), "/v1/traces");
    /// ```
    pub const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }
}

/// How a request is encoded. Its answer has the same encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

/// Why a request can't be decoded at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The encoding or the compression is unknown.
    #[error("{0}")]
    Unsupported(String),
    /// The body is too large after decompression.
    #[error("the decompressed body is larger than {max_bytes} bytes; send fewer records per request")]
    TooLarge {
        /// Bytes allowed.
        max_bytes: usize,
    },
    /// The decoded records would need too much memory.
    #[error("the body contains too many records; send fewer records per request")]
    TooManyRecords,
    /// The body is not what its encoding or its compression says.
    #[error("{0}")]
    Malformed(String),
}

impl Encoding {
    /// Parses a content type. An empty one means JSON.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Unsupported`] for a content type that OTLP does not have.
    ///
    /// ```
    /// use telemetry_otlp::Encoding;
    ///
    /// assert_eq!(Encoding::from_content_type("application/json; charset=utf-8"), Ok(Encoding::Json));
    /// assert!(Encoding::from_content_type("text/plain").is_err());
    /// ```
    pub fn from_content_type(text: &str) -> Result<Self, DecodeError> {
        let media_type = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media_type.as_str() {
            "application/x-protobuf" | "application/protobuf" => Ok(Self::Protobuf),
            "" | "application/json" => Ok(Self::Json),
            other => Err(DecodeError::Unsupported(format!(
                "unsupported content type `{other}`: expected application/x-protobuf or application/json"
            ))),
        }
    }

    /// Returns the content type of answers.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// The largest window that zstd decoders must support is 8 MiB (RFC 8878). A larger one would only let a
/// sender make this program allocate more.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a request is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not compressed.
    None,
    /// `gzip`.
    Gzip,
    /// `deflate`: the zlib format, as HTTP means it.
    Deflate,
    /// `zstd`.
    Zstd,
}

impl Compression {
    /// Parses a content encoding. An empty one means no compression.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Unsupported`] for an unknown compression.
    pub fn from_content_encoding(text: &str) -> Result<Self, DecodeError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" | "none" => Ok(Self::None),
            // `x-gzip` is the older name (RFC 9110, 8.4.1.3).
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "zstd" => Ok(Self::Zstd),
            other => Err(DecodeError::Unsupported(format!(
                "unsupported content encoding `{other}`: expected gzip, deflate, zstd or none"
            ))),
        }
    }

    /// Decompresses a body to at most `max_bytes`.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooLarge`] beyond `max_bytes`, and [`DecodeError::Malformed`] for a body that is not
    /// compressed in this way.
    ///
    /// ```
    /// use telemetry_otlp::{Compression, DecodeError};
    ///
    /// assert_eq!(&*Compression::None.decompress(b"spans", 100)?, b"spans");
    /// assert!(matches!(Compression::Gzip.decompress(b"spans", 100), Err(DecodeError::Malformed(_))));
    /// # Ok::<(), DecodeError>(())
    /// ```
    pub fn decompress(self, body: &[u8], max_bytes: usize) -> Result<Cow<'_, [u8]>, DecodeError> {
        let bytes = match self {
            Self::None => return Ok(Cow::Borrowed(body)),
            Self::Gzip => read(MultiGzDecoder::new(body), max_bytes),
            // RFC 9110, 8.4.1.2.
            Self::Deflate => read(ZlibDecoder::new(body), max_bytes),
            Self::Zstd => zstd::stream::read::Decoder::with_buffer(body).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                read(decoder, max_bytes)
            }),
        };
        let bytes = bytes.map_err(|error| {
            DecodeError::Malformed(format!("the body can't be decompressed as its header says: {error}"))
        })?;
        if bytes.len() > max_bytes {
            return Err(DecodeError::TooLarge { max_bytes });
        }
        Ok(Cow::Owned(bytes))
    }
}

/// Reads at most one byte more than `max_bytes`.
fn read(decoder: impl Read, max_bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    decoder.take((max_bytes as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_content_type_may_have_any_case_and_parameters() {
        assert_eq!(Encoding::from_content_type("Application/X-Protobuf"), Ok(Encoding::Protobuf));
        assert_eq!(Encoding::from_content_type(""), Ok(Encoding::Json));
        assert!(matches!(Encoding::from_content_type("text/plain"), Err(DecodeError::Unsupported(_))));
    }

    #[test]
    fn a_compressed_body_is_restored() {
        let zstd = zstd::encode_all(&b"spans"[..], 3).unwrap();
        for (name, body) in [
            ("gzip", gzip(b"spans")),
            ("X-Gzip", gzip(b"spans")),
            ("deflate", deflate(b"spans")),
            ("zstd", zstd),
            ("identity", b"spans".to_vec()),
        ] {
            let compression = Compression::from_content_encoding(name).unwrap();
            assert_eq!(compression.decompress(&body, 5).unwrap().as_ref(), b"spans", "{name}");
            let is_too_large =
                compression.decompress(&body, 4) == Err(DecodeError::TooLarge { max_bytes: 4 });
            assert_eq!(is_too_large, name != "identity", "{name}");
        }
    }

    #[test]
    fn a_decompression_bomb_allocates_no_more_than_the_limit() {
        let zeros = vec![0; 32 << 20];
        let zstd = zstd::encode_all(&zeros[..], 3).unwrap();
        for (compression, bomb) in [
            (Compression::Gzip, gzip(&zeros)),
            (Compression::Deflate, deflate(&zeros)),
            (Compression::Zstd, zstd),
        ] {
            assert!(bomb.len() < 64 << 10, "{compression:?}: {}", bomb.len());
            let error = compression.decompress(&bomb, 1 << 20);
            assert_eq!(error, Err(DecodeError::TooLarge { max_bytes: 1 << 20 }), "{compression:?}");
        }
    }

    #[test]
    fn a_body_that_is_not_compressed_as_its_header_says_is_malformed() {
        for compression in [Compression::Gzip, Compression::Deflate, Compression::Zstd] {
            let error = compression.decompress(b"spans", 100);
            assert!(matches!(error, Err(DecodeError::Malformed(_))), "{compression:?}: {error:?}");
        }
        let error = Compression::from_content_encoding("br");
        assert!(matches!(error, Err(DecodeError::Unsupported(_))), "{error:?}");
    }
}
