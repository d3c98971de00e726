//! What the three exporters have in common.

use opentelemetry_otlp::{Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};

use crate::client::Client;
use crate::config::{Compression, Config};

/// The builder of an exporter that sends by `client`, where and how `config` says.
pub(crate) fn over_http<B>(builder: B, config: &Config, client: &Client) -> B
where
    B: WithExportConfig + WithHttpConfig,
{
    let builder = builder
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(config.endpoint.full_url())
        .with_timeout(config.timeout)
        .with_http_client(client.clone())
        // Who tries again is the worker; of metrics, what is not delivered goes with the next export.
        .with_retry_policy(RetryPolicy::disabled());
    match config.compression {
        Compression::None => builder,
        Compression::Gzip => builder.with_compression(opentelemetry_otlp::Compression::Gzip),
        Compression::Zstd => builder.with_compression(opentelemetry_otlp::Compression::Zstd),
    }
}
