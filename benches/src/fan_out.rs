//! What one more sink costs: processor time of the whole program per signal and sink.

use std::time::Duration;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use telemetry_core::{
    Batch, BuiltSink, Event, Options, RunId, Severity, SignalSet, Sink, SinkContext, SinkEntry, SinkError,
    Submission, Ttl, Written,
};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec};

use crate::figures::{line, program_time};

/// Signals that each run sends to every sink.
const SIGNALS: usize = 400_000;
/// Signals per request. The bench flushes after each, so that none is dropped.
const BATCH: usize = 4_000;
const DEADLINE: Duration = Duration::from_secs(60);

struct Nothing;

#[async_trait]
impl Sink for Nothing {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        Ok(batch.delivered())
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

static NOTHING: SinkEntry = SinkEntry {
    name: "nothing",
    summary: "takes everything",
    keys: &[],
    build: |_| Box::pin(async { Ok(BuiltSink::new(Nothing, SignalSet::ALL)) }),
};

/// Returns the processor time of the program for all signals, delivered to `sinks` sinks.
fn spent(sinks: usize) -> Result<Duration> {
    let context = SinkContext { service_name: "bench".into(), options: Options::default(), run: RunId(1) };
    let specs = (0..sinks).map(|_| SinkSpec { entry: &NOTHING, context: context.clone() }).collect();
    let pipeline = Pipeline::start(specs, PipelineConfig::default())?;
    let telemetry = pipeline.telemetry();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let before = program_time();
    for _ in 0..SIGNALS / BATCH {
        let log = || Event::log(Severity::Info, "prompt received");
        let batch = (0..BATCH).map(|_| Submission::Event { event: log(), ttl: Ttl::default() });
        telemetry.submit(batch.collect())?.wait(DEADLINE)?;
        let report = runtime.block_on(telemetry.flush(DEADLINE));
        ensure!(report.is_complete(), "{report:?}");
    }
    let spent = program_time().saturating_sub(before);
    let ledger = pipeline.shutdown(DEADLINE).ledger;
    ensure!(ledger.sinks.iter().all(|sink| sink.delivered == SIGNALS as u64), "{ledger:?}");
    Ok(spent)
}

pub(crate) fn run() -> Result<()> {
    let nanos = |time: Duration| time.as_secs_f64() * 1e9 / SIGNALS as f64;
    let one = nanos(spent(1)?);
    println!(
        "processor time of the whole program per signal, from the submission to a sink that does nothing"
    );
    println!("1 sink, from the submission to its return {one:>27.1} ns");
    for sinks in [4_usize, 16] {
        let more = (nanos(spent(sinks)?) - one) / (sinks - 1) as f64;
        line(&format!("each further sink of {sinks}; promise <= 50"), more, "ns", "limit", 50.0);
    }
    Ok(())
}
