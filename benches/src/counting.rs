//! A pipeline whose sink counts spans, so that a bench can check that all were delivered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use telemetry_core::{
    Batch, BuiltSink, Options, RunId, Severity, Signal, SignalSet, Sink, SinkContext, SinkEntry, SinkError,
    Written, attrs,
};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec, Telemetry};

use crate::bursts::{DEADLINE, pause};

/// Spans delivered so far to the sink [`COUNTING`] of any pipeline.
static DELIVERED: AtomicU64 = AtomicU64::new(0);
/// Spans logged so far.
static LOGGED: AtomicU64 = AtomicU64::new(0);

struct Counting;

#[async_trait]
impl Sink for Counting {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let ended = batch.iter().filter(|signal| matches!(signal, Signal::SpanEnded(_))).count();
        DELIVERED.fetch_add(ended as u64, Ordering::Relaxed);
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

/// Starts a pipeline whose sink counts.
pub(crate) fn counting_pipeline() -> Result<Pipeline> {
    counting_pipeline_with(PipelineConfig::default())
}

fn counting_pipeline_with(config: PipelineConfig) -> Result<Pipeline> {
    let context = SinkContext { service_name: "bench".into(), options: Options::default(), run: RunId(1) };
    let sinks = vec![SinkSpec { entry: &COUNTING, context }];
    Ok(Pipeline::start(sinks, config)?)
}

/// Logs the span that the benches of the caller measure: start, five attributes, one log, end.
pub(crate) fn one_span(telemetry: &Telemetry) {
    let span = telemetry.root_span(
        "inference",
        attrs! {
            "model_id" => "llama-3.2-3b", "provider_id" => "meta-reference", "session_id" => "session-0001",
            "kind" => "chat", "stage" => "prefill",
        },
    );
    span.log(Severity::Info, "prompt received");
}

/// Counts spans as logged.
pub(crate) fn note(spans: u64) {
    LOGGED.fetch_add(spans, Ordering::Relaxed);
}

/// Pauses until all spans are delivered, so that the next burst finds room in the queue.
///
/// Returns early if records were refused or dropped. [`ensure_delivered`] reports that.
pub(crate) fn pause_until_delivered(telemetry: &Telemetry) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        pause();
        let is_delivered = DELIVERED.load(Ordering::Relaxed) == LOGGED.load(Ordering::Relaxed);
        if is_delivered || not_delivered(telemetry) > 0 || Instant::now() > deadline {
            return;
        }
    }
}

/// Returns how many records the queue refused and the sinks dropped or rejected so far.
fn not_delivered(telemetry: &Telemetry) -> u64 {
    let ledger = telemetry.ledger();
    let by_sinks: u64 = ledger.sinks.iter().map(|sink| sink.dropped + sink.failed).sum();
    ledger.ingest.refused_full + by_sinks
}

/// Fails if not all spans were delivered. The figure would be worth nothing.
pub(crate) fn ensure_delivered(telemetry: &Telemetry) -> Result<()> {
    let (delivered, logged) = (DELIVERED.load(Ordering::Relaxed), LOGGED.load(Ordering::Relaxed));
    let missing = not_delivered(telemetry);
    ensure!(
        delivered == logged && missing == 0,
        "{delivered} of {logged} spans delivered, {missing} records refused for want of room: \
         the machine is too busy for this bench"
    );
    Ok(())
}

/// Waits until everything logged so far is delivered.
pub(crate) fn flush(telemetry: &Telemetry) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let report = runtime.map(|runtime| runtime.block_on(telemetry.flush(DEADLINE)));
    assert!(report.is_ok_and(|report| report.is_complete()), "the counting sink flushes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_are_refused_fail_the_bench_and_are_not_waited_for() -> Result<()> {
        let pipeline =
            counting_pipeline_with(PipelineConfig { queue_slots: 1, ..PipelineConfig::default() })?;
        let telemetry = pipeline.telemetry();
        while not_delivered(&telemetry) == 0 {
            one_span(&telemetry);
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
