//! What a span costs the thread that logs it: start, five attributes, one log, end; all delivered.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use telemetry_core::{
    Batch, BuiltSink, Options, RunId, Severity, Signal, SignalSet, Sink, SinkContext, SinkEntry, SinkError,
    Written, attrs,
};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec, Telemetry};

use crate::cpu;
use crate::sdk::{self, Sdk};
use crate::table::line;

/// Spans per burst: short enough for the queue, so that none is refused.
pub(crate) const BURST: u64 = 1_000;
pub(crate) const BURSTS: u64 = 300;
const SPARSE: u64 = 3_000;
const EVERY: Duration = Duration::from_micros(300);
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Our spans delivered so far, by whatever pipeline has the sink [`COUNTING`].
pub(crate) static OURS: AtomicU64 = AtomicU64::new(0);
/// Our spans logged so far.
static LOGGED: AtomicU64 = AtomicU64::new(0);
static THEIRS: AtomicU64 = AtomicU64::new(0);

struct Counting;

#[async_trait]
impl Sink for Counting {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let ended = batch.iter().filter(|signal| matches!(signal, Signal::SpanEnded(_))).count();
        OURS.fetch_add(ended as u64, Ordering::Relaxed);
        Ok(batch.delivered())
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

static COUNTING: SinkEntry = SinkEntry {
    name: "counting",
    summary: "counts spans",
    keys: &[],
    build: |_| Box::pin(async { Ok(BuiltSink::new(Counting, SignalSet::ALL)) }),
};

struct Reporter;

impl fastrace::collector::Reporter for Reporter {
    fn report(&mut self, spans: Vec<fastrace::collector::SpanRecord>) {
        THEIRS.fetch_add(spans.len() as u64, Ordering::Relaxed);
    }
}

pub(crate) fn one_of_ours(telemetry: &Telemetry) {
    let span = telemetry.root_span(
        "inference",
        attrs! {
            "model_id" => "llama-3.2-3b", "provider_id" => "meta-reference", "session_id" => "session-0001",
            "kind" => "chat", "stage" => "prefill",
        },
    );
    span.log(Severity::Info, "prompt received");
}

fn one_of_theirs() {
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

/// Nanoseconds per span on each of `threads` threads, bursts timed, the pauses between them not.
pub(crate) fn dense(threads: usize, burst: impl Fn() + Sync, settle: impl Fn() + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let timed = || {
        let mut spent = Duration::ZERO;
        for _ in 0..BURSTS {
            barrier.wait();
            let started = cpu::of_thread();
            burst();
            spent += cpu::of_thread().saturating_sub(started);
            barrier.wait();
            settle();
        }
        spent
    };
    let spent: Duration = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(timed)).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
    });
    spent.as_secs_f64() * 1e9 / (BURSTS * BURST) as f64 / threads as f64
}

/// Nanoseconds per span, one every 300 µs.
fn sparse(span: impl Fn()) -> f64 {
    let mut spent = Duration::ZERO;
    let mut next = Instant::now();
    for _ in 0..SPARSE {
        while Instant::now() < next {
            std::hint::spin_loop();
        }
        next += EVERY;
        let started = Instant::now();
        span();
        spent += started.elapsed();
    }
    spent.as_secs_f64() * 1e9 / SPARSE as f64
}

/// Between bursts both sides' own threads do their work, when they choose to.
pub(crate) fn pause() {
    std::thread::park_timeout(Duration::from_millis(5));
}

/// The same, and on a busy machine longer: so that the next burst finds the room a program would have.
/// What was refused is not waited for; [`ensure_delivered`] tells of it.
pub(crate) fn pause_until_delivered(telemetry: &Telemetry) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        pause();
        let is_delivered = OURS.load(Ordering::Relaxed) == LOGGED.load(Ordering::Relaxed);
        if is_delivered || lost(telemetry) > 0 || Instant::now() > deadline {
            return;
        }
    }
}

/// Notes that spans of ours were logged.
pub(crate) fn note(spans: u64) {
    LOGGED.fetch_add(spans, Ordering::Relaxed);
}

/// What the queue refused and the sinks did not get, so far.
fn lost(telemetry: &Telemetry) -> u64 {
    let ledger = telemetry.ledger();
    let by_sinks: u64 = ledger.sinks.iter().map(|sink| sink.dropped + sink.failed).sum();
    ledger.ingest.refused_full + by_sinks
}

/// Fails if our spans were not all delivered: then the figure is worth nothing.
pub(crate) fn ensure_delivered(telemetry: &Telemetry) -> Result<()> {
    let (delivered, logged) = (OURS.load(Ordering::Relaxed), LOGGED.load(Ordering::Relaxed));
    let lost = lost(telemetry);
    ensure!(
        delivered == logged && lost == 0,
        "{delivered} of {logged} spans delivered, {lost} records refused for want of room: \
         the machine is too busy for this bench"
    );
    Ok(())
}

fn burst_of_theirs() {
    let root = fastrace::Span::root("root", fastrace::collector::SpanContext::random());
    let _guard = root.set_local_parent();
    for _ in 0..BURST {
        one_of_theirs();
    }
}

pub(crate) fn flush(telemetry: &Telemetry) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let report = runtime.map(|runtime| runtime.block_on(telemetry.flush(DEADLINE)));
    assert!(report.is_ok_and(|report| report.is_complete()), "the counting sink flushes");
}

/// A pipeline whose sink counts.
pub(crate) fn counting_pipeline() -> Result<Pipeline> {
    counting_pipeline_with(PipelineConfig::default())
}

fn counting_pipeline_with(config: PipelineConfig) -> Result<Pipeline> {
    let context = SinkContext { service_name: "bench".into(), options: Options::default(), run: RunId(1) };
    let sinks = vec![SinkSpec { entry: &COUNTING, context }];
    Ok(Pipeline::start(sinks, config)?)
}

pub(crate) fn run() -> Result<()> {
    let pipeline = counting_pipeline()?;
    let telemetry = pipeline.telemetry();
    fastrace::set_reporter(Reporter, fastrace::collector::Config::default());
    let opentelemetry = Sdk::start();
    let tracer = opentelemetry.tracer();
    let burst_of_ours = || {
        (0..BURST).for_each(|_| one_of_ours(&telemetry));
        note(BURST);
    };
    let burst_of_sdk = || {
        (0..BURST).for_each(|_| sdk::one_span(&tracer));
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
    let ours = sparse(|| one_of_ours(&telemetry));
    note(SPARSE);
    let theirs = {
        let root = fastrace::Span::root("root", fastrace::collector::SpanContext::random());
        let _guard = root.set_local_parent();
        sparse(one_of_theirs)
    };
    let of_sdk = sparse(|| sdk::one_span(&tracer));
    opentelemetry.note(SPARSE);
    line("one span every 300 µs; promise <= 1000 ns", ours, "ns", "limit", 1_000.0);
    line("  beside fastrace", ours, "ns", "fastrace local span", theirs);
    line("  beside OpenTelemetry's SDK", ours, "ns", "its span", of_sdk);
    flush(&telemetry);
    opentelemetry.ensure_delivered()?;
    ensure_delivered(&telemetry)?;
    fastrace::flush();
    let bursts = BURSTS * 3 * 2;
    ensure!(
        THEIRS.load(Ordering::Relaxed) == bursts * (BURST + 1) + SPARSE + 1,
        "fastrace delivered {}",
        THEIRS.load(Ordering::Relaxed)
    );
    let nobody = Pipeline::start(Vec::new(), PipelineConfig::default())?;
    let silent = nobody.telemetry();
    let idle = dense(
        1,
        || (0..BURST).for_each(|_| silent.log_event(telemetry_core::Event::log(Severity::Info, "x"))),
        || (),
    );
    line("log_event when no sink is interested; promise <= 30 ns", idle, "ns", "limit", 30.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_are_refused_fail_the_bench_and_are_not_waited_for() -> Result<()> {
        let pipeline =
            counting_pipeline_with(PipelineConfig { queue_slots: 1, ..PipelineConfig::default() })?;
        let telemetry = pipeline.telemetry();
        while lost(&telemetry) == 0 {
            one_of_ours(&telemetry);
            note(1);
        }
        let started = Instant::now();
        pause_until_delivered(&telemetry);
        assert!(started.elapsed() < DEADLINE);
        let failure = ensure_delivered(&telemetry).map_err(|error| error.to_string());
        assert!(failure.is_err_and(|message| message.contains("refused for want of room")));
        Ok(())
    }
}
