//! Allocations of a span (start, five attributes, one log, end) on the thread that logs it.

use anyhow::Result;

use crate::caller::{BURST, counting_pipeline, one_of_ours};
use crate::sdk::{self, Sdk};
use crate::table::line;
use crate::through_tracing::{one_span, opentelemetry, ours};

fn per_span(span: impl Fn()) -> f64 {
    // What is made once per thread is made before.
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
    let of_sdk = per_span(|| sdk::one_span(&tracer));
    let guard = per_span(|| one_of_ours(&telemetry));
    let ours = ours(telemetry.clone());
    let ours = tracing::dispatcher::with_default(&ours, || per_span(one_span));
    let theirs = tracing::dispatcher::with_default(&theirs, || per_span(one_span));
    println!("allocations per span on the caller's thread");
    line("through `tracing`", ours, "allocs", "tracing-opentelemetry", theirs);
    line("a span guard", guard, "allocs", "OpenTelemetry SDK", of_sdk);
    Ok(())
}
