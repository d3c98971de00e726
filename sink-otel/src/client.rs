//! The one HTTP client under all three exporters.
//!
//! An exporter reports a failure as a string and a partial success not at all. This client keeps
//! the whole answer aside, so that the sink can judge it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, header};
use opentelemetry_http::{HttpClient, HttpError};
use telemetry_core::SinkError;

use crate::config::{Compression, Config, Headers, TlsFiles};

/// Bytes of an answer that are looked at. A collector's answers are a few hundred bytes.
const MAX_ANSWER: usize = 256 << 10;

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The collector answered.
    Response { status: StatusCode, headers: HeaderMap, body: Bytes },
    /// It did not. The error has no URL in it, which could hold a password.
    None(reqwest::Error),
}

/// Sends requests, and keeps the latest answer. Clones share it.
#[derive(Clone)]
pub(crate) struct Client {
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
    /// A client for the endpoint, time-out, headers and certificates of `config`.
    pub(crate) fn new(config: &Config) -> Result<Self, SinkError> {
        let builder = reqwest::Client::builder()
            .timeout(config.timeout)
            // A redirect would turn the request into a GET, and carry the headers to another host.
            .redirect(reqwest::redirect::Policy::none())
            .pool_idle_timeout(Duration::from_secs(50));
        let builder = if config.endpoint.is_https() {
            with_certificates(builder, &config.tls)?
        } else {
            // Plain HTTP works without any certificate on the machine.
            builder.tls_certs_only([])
        };
        let http = builder.build().map_err(|error| {
            SinkError::close("can't set up the HTTP client").with("endpoint", &config.endpoint).source(error)
        })?;
        Ok(Self {
            http,
            headers: config.headers.clone(),
            compression: config.compression,
            latest: Arc::default(),
        })
    }

    /// Takes the answer to the latest request; `None` if none was sent since.
    pub(crate) fn take_answer(&self) -> Option<Answer> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Blots out the values of our headers, should the collector repeat them.
    pub(crate) fn without_secrets(&self, mut text: String) -> String {
        for value in self.headers.0.values() {
            let whole = value.to_str().unwrap_or_default();
            // `Bearer x` may be repeated without its scheme.
            for secret in [whole, whole.rsplit(' ').next().unwrap_or_default()] {
                if secret.len() >= 4 {
                    text = text.replace(secret, "***");
                }
            }
        }
        text
    }

    fn keep(&self, answer: Answer) {
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
        // The exporter adds the environment's headers; ours are the settled ones.
        let mut headers = self.headers.0.clone();
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::USER_AGENT] {
            if let Some(value) = parts.headers.remove(&name) {
                headers.entry(name).or_insert(value);
            }
        }
        let url = parts.uri.to_string();
        let sent = self.http.request(parts.method, url).headers(headers).body(body).send().await;
        let answer = match sent {
            Ok(response) => read(response).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok((status, headers, body)) => {
                let mut response = Response::new(body.clone());
                *response.status_mut() = status;
                self.keep(Answer::Response { status, headers, body });
                Ok(response)
            }
            Err(error) => {
                self.keep(Answer::None(error.without_url()));
                Err("no answer".into())
            }
        }
    }
}

async fn read(mut response: reqwest::Response) -> Result<(StatusCode, HeaderMap, Bytes), reqwest::Error> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = BytesMut::new();
    while body.len() < MAX_ANSWER
        && let Some(part) = response.chunk().await?
    {
        body.extend_from_slice(&part);
    }
    body.truncate(MAX_ANSWER);
    Ok((status, headers, body.freeze()))
}

/// Undoes what the exporter did because of `OTEL_EXPORTER_OTLP_COMPRESSION`, where the options say
/// `none`: it has no way to be told.
fn decompress(encoding: &http::HeaderValue, body: &[u8]) -> Result<Bytes, HttpError> {
    let mut plain = Vec::new();
    match encoding.as_bytes() {
        b"gzip" => {
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(body), &mut plain)?;
        }
        b"zstd" => plain = zstd::stream::decode_all(body)?,
        _ => return Err("the exporter chose an unknown encoding".into()),
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
                SinkError::close("the CA certificates are not PEM").with("path", path.display()).source(error)
            })?;
        if certificates.is_empty() {
            return Err(
                SinkError::close("the file has no CA certificate in PEM form").with("path", path.display())
            );
        }
        builder = builder.tls_certs_only(certificates);
    }
    if let (Some(certificate), Some(key)) = (&files.client_certificate, &files.client_key) {
        let mut pem = read("client key", key)?;
        pem.push(b'\n');
        pem.extend(read("client certificate", certificate)?);
        let identity = reqwest::Identity::from_pem(&pem).map_err(|error| {
            SinkError::close("the client certificate or its key is not PEM")
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
    fn what_the_exporter_compressed_against_the_options_is_undone() {
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
