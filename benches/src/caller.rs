//! What a span costs the thread that logs it: start, five attributes, one log, end. All spans are delivered.

use std::sync::atomic::Ordering;

use anyhow::{Result, ensure};
use telemetry_core::{Event, Severity};
use telemetry_pipeline::{Pipeline, PipelineConfig};

use crate::bursts::{BURST, BURSTS, SPARSE, dense, pause, sparse};
use crate::counting::{counting_pipeline, ensure_delivered, flush, note, one_span, pause_until_delivered};
use crate::figures::line;
use crate::peers::{self, Sdk};

pub(crate) fn run() -> Result<()> {
    let pipeline = counting_pipeline()?;
    let telemetry = pipeline.telemetry();
    let reported = peers::count_fastrace_spans();
    let opentelemetry = Sdk::start();
    let tracer = opentelemetry.tracer();
    let burst_of_ours = || {
        (0..BURST).for_each(|_| one_span(&telemetry));
        note(BURST);
    };
    let burst_of_theirs =
        || peers::under_fastrace_root(|| (0..BURST).for_each(|_| peers::one_fastrace_span()));
    let burst_of_sdk = || {
        (0..BURST).for_each(|_| peers::one_sdk_span(&tracer));
        opentelemetry.note(BURST);
    };
    println!("caller's thread, ns per span (start + 5 attributes + 1 log + end), all delivered");
    for threads in [1, 2] {
        let theirs = dense(threads, burst_of_theirs, pause);
        let ours = dense(threads, burst_of_ours, || pause_until_delivered(&telemetry));
        let warm = dense(threads, burst_of_theirs, fastrace::flush);
        let of_sdk = dense(threads, burst_of_sdk, || opentelemetry.settle());
        flush(&telemetry);
        let what = format!("dense, {threads} thread(s); promise <= 0.7");
        line(&what, ours, "ns", "fastrace local span", theirs);
        line("  beside OpenTelemetry's SDK", ours, "ns", "its span", of_sdk);
        line("  beside it with its memory warm", ours, "ns", "flushed each burst", warm);
    }
    let ours = sparse(|| one_span(&telemetry));
    note(SPARSE);
    let theirs = peers::under_fastrace_root(|| sparse(peers::one_fastrace_span));
    let of_sdk = sparse(|| peers::one_sdk_span(&tracer));
    opentelemetry.note(SPARSE);
    line("one span every 300 µs; promise <= 1000 ns", ours, "ns", "limit", 1_000.0);
    line("  beside fastrace", ours, "ns", "fastrace local span", theirs);
    line("  beside OpenTelemetry's SDK", ours, "ns", "its span", of_sdk);
    flush(&telemetry);
    opentelemetry.ensure_delivered()?;
    ensure_delivered(&telemetry)?;
    fastrace::flush();
    let (reported, bursts) = (reported.load(Ordering::Relaxed), BURSTS * 3 * 2);
    ensure!(reported == bursts * (BURST + 1) + SPARSE + 1, "fastrace delivered {reported}");
    let without_sinks = Pipeline::start(Vec::new(), PipelineConfig::default())?;
    let telemetry = without_sinks.telemetry();
    let idle =
        dense(1, || (0..BURST).for_each(|_| telemetry.log_event(Event::log(Severity::Info, "x"))), || ());
    line("log_event when no sink is interested; promise <= 30 ns", idle, "ns", "limit", 30.0);
    Ok(())
}
