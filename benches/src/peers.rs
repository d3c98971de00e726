//! Peers of the caller's benches, fastrace and OpenTelemetry's SDK, each with an exporter that counts.

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

use crate::bursts::{DEADLINE, pause};

/// Spans that may wait for the SDK's exporter: as many as our queue has room for.
const ROOM: u64 = 16_384;

/// OpenTelemetry's SDK with its batch processor, and counts of the spans logged and exported.
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

    /// Counts spans as logged.
    pub(crate) fn note(&self, spans: u64) {
        self.logged.fetch_add(spans, Ordering::Relaxed);
    }

    /// Pauses until the next burst finds room in the SDK's queue. Spans that the SDK dropped never arrive, so after
    /// one full deadline it no longer waits.
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

    /// Fails if not all spans were exported.
    pub(crate) fn ensure_delivered(&self) -> Result<()> {
        self.provider.force_flush()?;
        let (exported, logged) = (self.exported.load(Ordering::Relaxed), self.logged.load(Ordering::Relaxed));
        ensure!(exported == logged, "OpenTelemetry's SDK delivered {exported} of {logged} spans");
        Ok(())
    }
}

/// Logs the measured span with OpenTelemetry's SDK.
pub(crate) fn one_sdk_span(tracer: &SdkTracer) {
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

struct FastraceReporter(Arc<AtomicU64>);

impl fastrace::collector::Reporter for FastraceReporter {
    fn report(&mut self, spans: Vec<fastrace::collector::SpanRecord>) {
        self.0.fetch_add(spans.len() as u64, Ordering::Relaxed);
    }
}

/// Makes fastrace count the spans it reports, and returns the count.
pub(crate) fn count_fastrace_spans() -> Arc<AtomicU64> {
    let reported = Arc::new(AtomicU64::new(0));
    fastrace::set_reporter(FastraceReporter(Arc::clone(&reported)), fastrace::collector::Config::default());
    reported
}

/// Runs `code` below a root span of fastrace.
pub(crate) fn under_fastrace_root<T>(code: impl FnOnce() -> T) -> T {
    let root = fastrace::Span::root("root", fastrace::collector::SpanContext::random());
    let _guard = root.set_local_parent();
    code()
}

/// Logs the measured span with fastrace.
pub(crate) fn one_fastrace_span() {
    let _span = fastrace::local::LocalSpan::enter_with_local_parent("inference").with_properties(|| {
        [
            ("model_id", "llama-3.2-3b"),
            ("provider_id", "meta-reference"),
            ("session_id", "session-0001"),
            ("kind", "chat"),
            ("stage", "prefill"),
        ]
    });
    fastrace::local::LocalSpan::add_event(fastrace::Event::new("prompt received"));
}
