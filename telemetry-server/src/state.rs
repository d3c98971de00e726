//! What every handler sees.

use std::sync::Arc;
use std::time::Duration;

use telemetry_core::TraceStore;
use telemetry_pipeline::Telemetry;

use crate::auth::Tokens;
use crate::datasets::Exporter;
use crate::decoders::Decoders;
use crate::error::ApiError;
use crate::exposition::Exposition;
use crate::http::Admission;
use crate::otlp::Streams;
use crate::settings::Settings;

/// Cheap to clone: one per request.
#[derive(Clone, Debug)]
pub(crate) struct AppState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    telemetry: Telemetry,
    tokens: Tokens,
    exposition: Arc<Exposition>,
    exporter: Exporter,
    admission: Arc<Admission>,
    ack_within: Duration,
    max_body_bytes: usize,
    streams: Streams,
    decoders: Decoders,
}

impl AppState {
    pub(crate) fn new(telemetry: Telemetry, settings: &Settings) -> Self {
        let exposition = Arc::new(Exposition::new(telemetry.clone()));
        Self(Arc::new(Shared {
            telemetry,
            tokens: settings.tokens.clone(),
            ack_within: settings.ack_within,
            max_body_bytes: settings.limits.max_body_bytes,
            streams: Streams::default(),
            decoders: Decoders::new(),
            admission: Admission::new(settings.limits.clone(), exposition.requests.clone()),
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

    /// What `/metrics` shows.
    pub(crate) fn exposition(&self) -> &Exposition {
        &self.0.exposition
    }

    /// Appends spans to datasets.
    pub(crate) fn exporter(&self) -> &Exporter {
        &self.0.exporter
    }

    /// What all requests share.
    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.0.admission
    }

    /// How long a client waits at most until its events are stored.
    pub(crate) fn ack_within(&self) -> Duration {
        self.0.ack_within
    }

    /// Bytes of a request's body at most, also after decompression.
    pub(crate) fn max_body_bytes(&self) -> usize {
        self.0.max_body_bytes
    }

    /// Turns to read large bodies.
    pub(crate) fn decoders(&self) -> &Decoders {
        &self.0.decoders
    }

    /// Where cumulative streams that come by OTLP stand.
    pub(crate) fn streams(&self) -> &Streams {
        &self.0.streams
    }

    /// The store that answers queries.
    pub(crate) fn store(&self) -> Result<Arc<dyn TraceStore>, ApiError> {
        self.0.telemetry.store().ok_or_else(|| {
            ApiError::unavailable("no sink among the configured ones can answer queries; add `sqlite`")
        })
    }
}
