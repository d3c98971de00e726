//! Spans into SQLite, durable, end to end, beside plain rows; then queries over what was stored.

mod metrics;
mod plain;
mod queries;
mod samples;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use telemetry_core::{OptionValue, Options, RunId, SinkContext, Ttl};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec, Telemetry};

use self::queries::Curve;
use self::samples::{AT_ONCE, BATCH, attributes};
pub(crate) use self::samples::{submissions, submit_all};
use crate::figures::line;

const DEADLINE: Duration = Duration::from_secs(120);

/// Stores the spans `from..to` through the whole pipeline. Returns the time until all were acknowledged, without the
/// time for making the events.
fn store(telemetry: &Telemetry, from: usize, to: usize) -> Result<Duration> {
    let mut took = Duration::ZERO;
    for from in (from..to).step_by(AT_ONCE) {
        let to = to.min(from + AT_ONCE);
        let requests: Vec<_> = (from..to)
            .step_by(BATCH)
            .map(|from| submissions(from, to.min(from + BATCH), Ttl::default()))
            .collect();
        took += submit_all(telemetry, requests)?;
    }
    Ok(took)
}

/// The most spans to compare with plain rows, whose indexes make them slower as they grow.
const PLAIN: usize = 1_000_000;

pub(crate) fn run(spans: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (plain_file, our_file) = (folder.path().join("plain.db"), folder.path().join("ours.db"));
    let compared = spans.min(PLAIN);
    let plain_rate = plain::write(&plain_file, compared)?;
    let plain_size = std::fs::metadata(&plain_file)?.len() as f64 / compared as f64;
    std::fs::remove_file(plain_file)?;
    let path = our_file.to_str().context("the temporary folder's path is UTF-8")?.to_owned();
    let options = Options::from_pairs([("path", OptionValue::Text(path))]);
    let context = SinkContext { service_name: "bench".into(), options, run: RunId(1) };
    let sinks = vec![SinkSpec { entry: &sink_sqlite::ENTRY, context }];
    let pipeline = Pipeline::start(sinks, PipelineConfig::default())?;
    let telemetry = pipeline.telemetry();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("spans with their logs, {} bytes of attributes in 5 keys", attributes(0).to_json().len());
    let mut sizes: Vec<usize> = [10_000, 100_000, 1_000_000, 10_000_000].into();
    sizes.retain(|size| *size < spans);
    sizes.push(spans);
    let (mut from, mut took) = (0, Duration::ZERO);
    let mut curve = Curve::default();
    for &size in &sizes {
        took += store(&telemetry, from, size)?;
        from = size;
        if size == compared {
            let rate = size as f64 / took.as_secs_f64();
            let what = "into SQLite, end to end, acknowledged; promise >= 1.0";
            line(what, rate, "spans/s", "plain rows", plain_rate);
            line("the same; promise on a quiet machine", rate, "spans/s", "promise", 50_000.0);
        }
        let store = telemetry.store().context("sqlite is a store")?;
        runtime.block_on(queries::ask(&*store, &our_file, size, &mut curve))?;
    }
    curve.print(&sizes);
    println!();
    let size = queries::file_size(&our_file)? / spans as f64;
    line("size on disk per span with its log; promise <= 500", size, "bytes", "plain rows", plain_size);
    line("the same", size, "bytes", "promise", 500.0);
    metrics::run(&telemetry, &runtime, spans.min(1_000_000))?;
    let report = pipeline.shutdown(DEADLINE);
    ensure!(report.abandoned.is_empty() && report.ledger.sinks[0].failed == 0, "{report:?}");
    Ok(())
}
