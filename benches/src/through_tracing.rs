//! What a span through `tracing` costs the thread that logs it, beside other layers; all delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter,
};
use telemetry_pipeline::Telemetry;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::caller::{
    BURST, BURSTS, OURS, counting_pipeline, dense, ensure_delivered, flush, pause, pause_until_delivered,
};
use crate::table::line;

/// Spans that may wait for OpenTelemetry's exporter: as much as our queue has room for.
const ROOM: u64 = 16_384;

/// Counts the spans that OpenTelemetry exports.
#[derive(Clone, Debug, Default)]
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

/// Counts the spans that fastrace reports.
struct Reporter(Arc<AtomicU64>);

impl fastrace::collector::Reporter for Reporter {
    fn report(&mut self, spans: Vec<fastrace::collector::SpanRecord>) {
        self.0.fetch_add(spans.len() as u64, Ordering::Relaxed);
    }
}

/// The span of the other bench, as `tracing` has it.
pub(crate) fn one_span() {
    let span = tracing::info_span!(
        "inference",
        model_id = "llama-3.2-3b",
        provider_id = "meta-reference",
        session_id = "session-0001",
        kind = "chat",
        stage = "prefill",
    );
    let _entered = span.enter();
    tracing::info!("prompt received");
}

fn burst() {
    (0..BURST).for_each(|_| one_span());
}

/// Our layer, before this pipeline.
pub(crate) fn ours(telemetry: Telemetry) -> Dispatch {
    Dispatch::new(tracing_subscriber::registry().with(telemetry_tracing::layer(telemetry)))
}

/// tracing-opentelemetry with a batch processor, with as much room as our queue has.
pub(crate) fn opentelemetry(exporter: Arc<AtomicU64>) -> (Dispatch, SdkTracerProvider) {
    let room = BatchConfigBuilder::default()
        .with_max_queue_size(usize::try_from(ROOM).unwrap_or(usize::MAX))
        .build();
    let processor = BatchSpanProcessor::builder(Exporter(exporter)).with_batch_config(room).build();
    let provider = SdkTracerProvider::builder().with_span_processor(processor).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
    (Dispatch::new(tracing_subscriber::registry().with(layer)), provider)
}

fn under(dispatch: &Dispatch, code: impl FnOnce()) {
    tracing::dispatcher::with_default(dispatch, code);
}

pub(crate) fn run() -> Result<()> {
    let pipeline = counting_pipeline()?;
    let telemetry = pipeline.telemetry();
    let before = OURS.load(Ordering::Relaxed);
    let ours = ours(telemetry.clone());
    let exported = Arc::new(AtomicU64::new(0));
    let (theirs, provider) = opentelemetry(Arc::clone(&exported));
    let reported = Arc::new(AtomicU64::new(0));
    fastrace::set_reporter(Reporter(Arc::clone(&reported)), fastrace::collector::Config::default());
    let layer = fastrace_tracing::FastraceCompatLayer::new();
    let fastrace_layer = Dispatch::new(tracing_subscriber::registry().with(layer));
    let burst_of_fastrace = || {
        let root = fastrace::Span::root("root", fastrace::collector::SpanContext::random());
        let _guard = root.set_local_parent();
        under(&fastrace_layer, burst);
    };
    let logged = AtomicU64::new(0);
    let burst_of_theirs = || {
        under(&theirs, burst);
        logged.fetch_add(BURST, Ordering::Relaxed);
    };
    // On a busy machine longer: so that the next burst finds room in their queue, too. What it has lost
    // never comes: that is waited for once.
    let gave_up = AtomicBool::new(false);
    let settle = || {
        pause();
        let deadline = Instant::now() + Duration::from_secs(30);
        let is_behind = || exported.load(Ordering::Relaxed) + ROOM / 2 < logged.load(Ordering::Relaxed);
        while is_behind() && !gave_up.load(Ordering::Relaxed) {
            gave_up.store(Instant::now() > deadline, Ordering::Relaxed);
            pause();
        }
    };
    println!("the same through `tracing`, ns per span, all delivered");
    for threads in [1, 2] {
        let figure = dense(threads, || under(&ours, burst), || pause_until_delivered(&telemetry));
        let peer = dense(threads, burst_of_theirs, settle);
        let other = dense(threads, burst_of_fastrace, pause);
        let what = format!("dense, {threads} thread(s); promise <= 0.5");
        line(&what, figure, "ns", "tracing-opentelemetry", peer);
        line("  beside fastrace's layer", figure, "ns", "fastrace-tracing", other);
    }
    flush(&telemetry);
    provider.force_flush()?;
    fastrace::flush();
    let expected = BURST * BURSTS * 3;
    ensure_delivered(&telemetry, OURS.load(Ordering::Relaxed) - before, expected)?;
    let delivered = exported.load(Ordering::Relaxed);
    ensure!(delivered == expected, "tracing-opentelemetry delivered {delivered} of {expected}");
    // Its queue is bounded, too, and a busy machine may not get round to it in time.
    let lost = (expected + BURSTS * 3).saturating_sub(reported.load(Ordering::Relaxed));
    if lost > 0 {
        println!("  fastrace lost {lost} of its spans");
    }
    Ok(())
}
