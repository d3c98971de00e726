//! What a span through `tracing` costs the thread that logs it, beside other layers; all delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use telemetry_pipeline::Telemetry;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::caller::{
    BURST, BURSTS, counting_pipeline, dense, ensure_delivered, flush, note, pause, pause_until_delivered,
};
use crate::sdk::Sdk;
use crate::table::line;

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

/// tracing-opentelemetry's layer, before the SDK.
pub(crate) fn opentelemetry(sdk: &Sdk) -> Dispatch {
    let layer = tracing_opentelemetry::layer().with_tracer(sdk.tracer());
    Dispatch::new(tracing_subscriber::registry().with(layer))
}

fn under(dispatch: &Dispatch, code: impl FnOnce()) {
    tracing::dispatcher::with_default(dispatch, code);
}

pub(crate) fn run() -> Result<()> {
    let pipeline = counting_pipeline()?;
    let telemetry = pipeline.telemetry();
    let ours = ours(telemetry.clone());
    let sdk = Sdk::start();
    let theirs = opentelemetry(&sdk);
    let reported = Arc::new(AtomicU64::new(0));
    fastrace::set_reporter(Reporter(Arc::clone(&reported)), fastrace::collector::Config::default());
    let layer = fastrace_tracing::FastraceCompatLayer::new();
    let fastrace_layer = Dispatch::new(tracing_subscriber::registry().with(layer));
    let burst_of_fastrace = || {
        let root = fastrace::Span::root("root", fastrace::collector::SpanContext::random());
        let _guard = root.set_local_parent();
        under(&fastrace_layer, burst);
    };
    let burst_of_ours = || {
        under(&ours, burst);
        note(BURST);
    };
    let burst_of_theirs = || {
        under(&theirs, burst);
        sdk.note(BURST);
    };
    println!("the same through `tracing`, ns per span, all delivered");
    for threads in [1, 2] {
        let figure = dense(threads, burst_of_ours, || pause_until_delivered(&telemetry));
        let peer = dense(threads, burst_of_theirs, || sdk.settle());
        let other = dense(threads, burst_of_fastrace, pause);
        let what = format!("dense, {threads} thread(s); promise <= 0.5");
        line(&what, figure, "ns", "tracing-opentelemetry", peer);
        line("  beside fastrace's layer", figure, "ns", "fastrace-tracing", other);
    }
    flush(&telemetry);
    fastrace::flush();
    let expected = BURST * BURSTS * 3;
    ensure_delivered(&telemetry)?;
    sdk.ensure_delivered()?;
    // Its queue is bounded, too, and a busy machine may not get round to it in time.
    let lost = (expected + BURSTS * 3).saturating_sub(reported.load(Ordering::Relaxed));
    if lost > 0 {
        println!("  fastrace lost {lost} of its spans");
    }
    Ok(())
}
