//! The state that all handlers share.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use telemetry_core::TraceStore;
use telemetry_otlp::Streams;
use telemetry_pipeline::Telemetry;
use tokio::sync::Mutex;

use crate::datasets::Exporter;
use crate::error::ApiError;
use crate::exposition::Exposition;
use crate::http::{DecodeLimiter, RequestLimiter};
use crate::query_threads::QueryThreads;
use crate::settings::Settings;
use crate::tokens::Tokens;

/// The state of the server. A clone shares it.
#[derive(Clone, Debug)]
pub(crate) struct AppState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    telemetry: Telemetry,
    tokens: Tokens,
    exposition: Arc<Exposition>,
    exporter: Exporter,
    request_limiter: Arc<RequestLimiter>,
    ack_within: Duration,
    max_body_bytes: usize,
    streams: Mutex<Streams>,
    decode_limiter: DecodeLimiter,
    store: Option<QueryThreads>,
}

impl AppState {
    pub(crate) fn new(telemetry: Telemetry, settings: &Settings) -> Self {
        let exposition = Arc::new(Exposition::new(telemetry.clone()));
        Self(Arc::new(Shared {
            store: telemetry.store().map(QueryThreads::new),
            telemetry,
            tokens: settings.tokens.clone(),
            ack_within: settings.ack_within,
            max_body_bytes: settings.limits.max_body_bytes,
            streams: Mutex::default(),
            decode_limiter: DecodeLimiter::new(),
            request_limiter: RequestLimiter::new(settings.limits.clone(), exposition.http_metrics.clone()),
            exposition,
            exporter: Exporter::new(settings.datasets.clone()),
        }))
    }

    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.0.telemetry
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// Returns the metrics of the page `/metrics`.
    pub(crate) fn exposition(&self) -> &Exposition {
        &self.0.exposition
    }

    /// Returns the exporter to datasets.
    pub(crate) fn exporter(&self) -> &Exporter {
        &self.0.exporter
    }

    /// Returns the limits that all requests share.
    pub(crate) fn request_limiter(&self) -> &Arc<RequestLimiter> {
        &self.0.request_limiter
    }

    /// Returns the longest time that a client waits until its records are stored.
    pub(crate) fn ack_within(&self) -> Duration {
        self.0.ack_within
    }

    /// Returns the largest size of a body, also after decompression.
    pub(crate) fn max_body_bytes(&self) -> usize {
        self.0.max_body_bytes
    }

    /// Returns the limit on decoding bodies.
    pub(crate) fn decode_limiter(&self) -> &DecodeLimiter {
        &self.0.decode_limiter
    }

    /// Returns the latest readings of cumulative OTLP streams.
    pub(crate) fn streams(&self) -> &Mutex<Streams> {
        &self.0.streams
    }

    /// Returns the store that answers queries.
    pub(crate) fn store(&self) -> Result<&dyn TraceStore, ApiError> {
        self.0.store.as_ref().map(|store| store as &dyn TraceStore).ok_or_else(|| {
            ApiError::unavailable("none of the configured sinks answers queries; add the sink `sqlite`")
        })
    }
}

impl FromRef<AppState> for DecodeLimiter {
    fn from_ref(state: &AppState) -> Self {
        state.decode_limiter().clone()
    }
}
