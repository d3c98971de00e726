//! OpenTelemetry's SDK as a peer: its batch processor, before an exporter that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, SpanData, SpanExporter,
};

use crate::caller::{DEADLINE, pause};

/// Spans that may wait for the exporter: as much as our queue has room for.
const ROOM: u64 = 16_384;

/// The SDK, and what it was given and has exported.
pub(crate) struct Sdk {
    provider: SdkTracerProvider,
    exported: Arc<AtomicU64>,
    logged: AtomicU64,
    gave_up: AtomicBool,
}

/// Counts the spans that are exported.
#[derive(Debug)]
struct Exporter(Arc<AtomicU64>);

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Sdk {
    pub(crate) fn start() -> Self {
        let exported = Arc::new(AtomicU64::new(0));
        let room = BatchConfigBuilder::default()
            .with_max_queue_size(usize::try_from(ROOM).unwrap_or(usize::MAX))
            .build();
        let exporter = Exporter(Arc::clone(&exported));
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(room).build();
        let provider = SdkTracerProvider::builder().with_span_processor(processor).build();
        Self { provider, exported, logged: AtomicU64::new(0), gave_up: AtomicBool::new(false) }
    }

    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("bench")
    }

    /// Notes that it was given spans.
    pub(crate) fn note(&self, spans: u64) {
        self.logged.fetch_add(spans, Ordering::Relaxed);
    }

    /// Pauses; on a busy machine longer, so that the next burst finds room in its queue. What it has lost
    /// never comes: that is waited for once.
    pub(crate) fn settle(&self) {
        pause();
        let deadline = Instant::now() + DEADLINE;
        let is_behind =
            || self.exported.load(Ordering::Relaxed) + ROOM / 2 < self.logged.load(Ordering::Relaxed);
        while is_behind() && !self.gave_up.load(Ordering::Relaxed) {
            self.gave_up.store(Instant::now() > deadline, Ordering::Relaxed);
            pause();
        }
    }

    /// Fails if it has not exported what it was given.
    pub(crate) fn ensure_delivered(&self) -> Result<()> {
        self.provider.force_flush()?;
        let (exported, logged) = (self.exported.load(Ordering::Relaxed), self.logged.load(Ordering::Relaxed));
        ensure!(exported == logged, "OpenTelemetry's SDK delivered {exported} of {logged} spans");
        Ok(())
    }
}

/// The span that the bench is about.
pub(crate) fn one_span(tracer: &SdkTracer) {
    let attributes = [
        KeyValue::new("model_id", "llama-3.2-3b"),
        KeyValue::new("provider_id", "meta-reference"),
        KeyValue::new("session_id", "session-0001"),
        KeyValue::new("kind", "chat"),
        KeyValue::new("stage", "prefill"),
    ];
    let mut span = tracer.span_builder("inference").with_attributes(attributes).start(tracer);
    span.add_event("prompt received", Vec::new());
}
