//! Counts the allocations of a span (start, five attributes, one log, end) on the thread that logs it.

use anyhow::Result;

use crate::bursts::BURST;
use crate::counting::{self, counting_pipeline};
use crate::figures::line;
use crate::peers::{self, Sdk};
use crate::through_tracing::{one_span, opentelemetry, ours};

/// Returns the allocations per call of `span`.
fn per_span(span: impl Fn()) -> f64 {
    // The first call allocates what each thread needs once.
    span();
    let counted = allocation_counter::measure(|| (0..BURST).for_each(|_| span()));
    counted.count_total as f64 / BURST as f64
}

pub(crate) fn run() -> Result<()> {
    let pipeline = counting_pipeline()?;
    let telemetry = pipeline.telemetry();
    let opentelemetry_sdk = Sdk::start();
    let theirs = opentelemetry(&opentelemetry_sdk);
    let tracer = opentelemetry_sdk.tracer();
    let of_sdk = per_span(|| peers::one_sdk_span(&tracer));
    let guard = per_span(|| counting::one_span(&telemetry));
    let ours = ours(telemetry.clone());
    let ours = tracing::dispatcher::with_default(&ours, || per_span(one_span));
    let theirs = tracing::dispatcher::with_default(&theirs, || per_span(one_span));
    println!("allocations per span on the caller's thread");
    line("through `tracing`", ours, "allocs", "tracing-opentelemetry", theirs);
    line("a span guard", guard, "allocs", "OpenTelemetry SDK", of_sdk);
    Ok(())
}
