//! What a span through `tracing` costs the thread that logs it, beside other layers. All spans are delivered.

use std::sync::atomic::Ordering;

use anyhow::Result;
use telemetry_pipeline::Telemetry;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::bursts::{BURST, BURSTS, dense, pause};
use crate::counting::{counting_pipeline, ensure_delivered, flush, note, pause_until_delivered};
use crate::figures::line;
use crate::peers::{self, Sdk};

/// Logs the measured span with `tracing`.
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

/// Returns a dispatcher with our layer on this pipeline.
pub(crate) fn ours(telemetry: Telemetry) -> Dispatch {
    Dispatch::new(tracing_subscriber::registry().with(telemetry_tracing::layer(telemetry)))
}

/// Returns a dispatcher with tracing-opentelemetry's layer on the SDK.
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
    let reported = peers::count_fastrace_spans();
    let layer = fastrace_tracing::FastraceCompatLayer::new();
    let fastrace_layer = Dispatch::new(tracing_subscriber::registry().with(layer));
    let burst_of_fastrace = || peers::under_fastrace_root(|| under(&fastrace_layer, burst));
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
    // fastrace's queue is bounded, too, and overflows on a busy machine.
    let lost = (expected + BURSTS * 3).saturating_sub(reported.load(Ordering::Relaxed));
    if lost > 0 {
        println!("  fastrace lost {lost} of its spans");
    }
    Ok(())
}
