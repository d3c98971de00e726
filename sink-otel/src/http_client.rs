//! The HTTP client of all three exporters.
//!
//! An exporter reports a failure only as text, and a partial success not at all. This client keeps the
//! collector's whole answer, from which `response.rs` reads what happened to the request.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, header};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use telemetry_core::SinkError;

use crate::config::{Compression, Config, Endpoint, Headers, SignalKind, TlsFiles};

/// Bytes of an answer's body that are read. A collector's answers are a few hundred bytes.
const MAX_ANSWER_BYTES: usize = 256 << 10;

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The collector answered.
    Response { status: StatusCode, headers: HeaderMap, body: Bytes },
    /// No answer came. The error does not contain the URL, which could contain a password.
    Failed(reqwest::Error),
}

/// Sends the requests of one signal and keeps the latest answer. Clones share it.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) signal: SignalKind,
    pub(crate) endpoint: Endpoint,
    http: reqwest::Client,
    headers: Headers,
    compression: Compression,
    latest: Arc<Mutex<Option<Answer>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("headers", &self.headers).finish_non_exhaustive()
    }
}

impl Client {
    /// Creates a client with the endpoint, time-out, headers and certificates of `config`.
    pub(crate) fn new(config: &Config) -> Result<Self, SinkError> {
        let builder = reqwest::Client::builder()
            .timeout(config.timeout)
            // A redirect would turn the request into a GET and send the headers to another host.
            .redirect(reqwest::redirect::Policy::none())
            .pool_idle_timeout(Duration::from_secs(50));
        let builder = if config.endpoint.is_https() {
            with_certificates(builder, &config.tls)?
        } else {
            // Plain HTTP must work on a machine without certificates.
            builder.tls_certs_only([])
        };
        let http = builder.build().map_err(|error| {
            SinkError::close("can't set up the HTTP client").with("endpoint", &config.endpoint).source(error)
        })?;
        Ok(Self {
            signal: config.signal,
            endpoint: config.endpoint.clone(),
            http,
            headers: config.headers.clone(),
            compression: config.compression,
            latest: Arc::default(),
        })
    }

    /// Configures an exporter to send its requests through this client.
    pub(crate) fn configure<B>(&self, builder: B, config: &Config) -> B
    where
        B: WithExportConfig + WithHttpConfig,
    {
        let builder = builder
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(self.endpoint.full_url())
            .with_timeout(config.timeout)
            .with_http_client(self.clone())
            // The worker retries. Metrics that are not delivered are part of the next export.
            .with_retry_policy(RetryPolicy::disabled());
        match self.compression {
            Compression::None => builder,
            Compression::Gzip => builder.with_compression(opentelemetry_otlp::Compression::Gzip),
            Compression::Zstd => builder.with_compression(opentelemetry_otlp::Compression::Zstd),
        }
    }

    /// Takes the answer to the latest request. Returns `None` if no request was sent since the last call.
    pub(crate) fn take_answer(&self) -> Option<Answer> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Replaces the values of our headers by `***`, in case the collector repeats them.
    pub(crate) fn mask_secrets(&self, mut text: String) -> String {
        for value in self.headers.0.values() {
            let whole = value.to_str().unwrap_or_default();
            // The collector may repeat `Bearer x` without its scheme.
            for secret in [whole, whole.rsplit(' ').next().unwrap_or_default()] {
                if secret.len() >= 4 {
                    text = text.replace(secret, "***");
                }
            }
        }
        text
    }

    fn store_answer(&self, answer: Answer) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (mut parts, mut body) = request.into_parts();
        if self.compression == Compression::None
            && let Some(encoding) = parts.headers.remove(header::CONTENT_ENCODING)
        {
            body = decompress(&encoding, &body)?;
        }
        // The exporter adds the headers of the environment. Ours already take the environment into account.
        let mut headers = self.headers.0.clone();
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::USER_AGENT] {
            if let Some(value) = parts.headers.remove(&name) {
                headers.entry(name).or_insert(value);
            }
        }
        let url = parts.uri.to_string();
        let sent = self.http.request(parts.method, url).headers(headers).body(body).send().await;
        let answer = match sent {
            Ok(response) => read_answer(response).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok((status, headers, body)) => {
                let mut response = Response::new(body.clone());
                *response.status_mut() = status;
                self.store_answer(Answer::Response { status, headers, body });
                Ok(response)
            }
            Err(error) => {
                self.store_answer(Answer::Failed(error.without_url()));
                Err("no answer".into())
            }
        }
    }
}

async fn read_answer(
    mut response: reqwest::Response,
) -> Result<(StatusCode, HeaderMap, Bytes), reqwest::Error> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = BytesMut::new();
    while body.len() < MAX_ANSWER_BYTES
        && let Some(part) = response.chunk().await?
    {
        body.extend_from_slice(&part);
    }
    body.truncate(MAX_ANSWER_BYTES);
    Ok((status, headers, body.freeze()))
}

/// Returns the setup error of an exporter as the sink's error.
pub(crate) fn exporter_error(error: ExporterBuildError) -> SinkError {
    SinkError::close("can't set up the exporter").source(error)
}

/// Decompresses a body that the exporter compressed because of `OTEL_EXPORTER_OTLP_COMPRESSION`
/// although the options say `none`. No setting of the exporter prevents that.
fn decompress(encoding: &http::HeaderValue, body: &[u8]) -> Result<Bytes, HttpError> {
    let mut plain = Vec::new();
    match encoding.as_bytes() {
        b"gzip" => {
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(body), &mut plain)?;
        }
        b"zstd" => plain = zstd::stream::decode_all(body)?,
        _ => return Err("the exporter used an encoding other than gzip and zstd".into()),
    }
    Ok(plain.into())
}

fn with_certificates(
    mut builder: reqwest::ClientBuilder,
    files: &TlsFiles,
) -> Result<reqwest::ClientBuilder, SinkError> {
    let read = |what: &'static str, path: &std::path::Path| {
        std::fs::read(path).map_err(|error| {
            SinkError::close(format!("can't read the {what}")).with("path", path.display()).source(error)
        })
    };
    if let Some(path) = &files.ca {
        let certificates =
            reqwest::Certificate::from_pem_bundle(&read("CA certificates", path)?).map_err(|error| {
                SinkError::close("the file of CA certificates is not valid PEM")
                    .with("path", path.display())
                    .source(error)
            })?;
        if certificates.is_empty() {
            return Err(SinkError::close("the file contains no CA certificate in PEM form")
                .with("path", path.display()));
        }
        builder = builder.tls_certs_only(certificates);
    }
    if let (Some(certificate), Some(key)) = (&files.client_certificate, &files.client_key) {
        let mut pem = read("client key", key)?;
        pem.push(b'\n');
        pem.extend(read("client certificate", certificate)?);
        let identity = reqwest::Identity::from_pem(&pem).map_err(|error| {
            SinkError::close("the client certificate or its key is not valid PEM")
                .with("client_certificate", certificate.display())
                .with("client_key", key.display())
                .source(error)
        })?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn compression_against_the_options_is_undone() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, b"body").unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::bulk::compress(b"body", 0).unwrap();
        for (encoding, body) in [("gzip", gzip), ("zstd", zstd)] {
            assert_eq!(decompress(&HeaderValue::from_static(encoding), &body).unwrap(), "body");
        }
        assert!(decompress(&HeaderValue::from_static("br"), b"body").is_err());
    }
}
