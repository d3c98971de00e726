//! What a purge costs concurrent writers, and how much disk space it frees.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use telemetry_core::{OptionValue, Options, RunId, SinkContext, Ttl};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec, Telemetry};

use crate::figures::line;
use crate::sqlite::{submissions, submit_all};

/// Spans per request while the store is filled.
const BATCH: usize = 2_000;
/// Threads that each write one span after the other and wait for its receipt.
const WRITERS: usize = 4;
/// How long writes are measured before anything expires.
const CALM: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(600);

/// Writes until `done`. Returns how long each acknowledged write took, in microseconds.
fn writes(telemetry: &Telemetry, first: usize, done: &AtomicBool) -> Result<Histogram<u64>> {
    let mut took = Histogram::new(3)?;
    let mut number = first;
    while !done.load(Ordering::Relaxed) {
        let span = submissions(number, number + 1, Ttl::default());
        let started = Instant::now();
        telemetry.submit(span)?.wait(DEADLINE)?;
        took.record(u64::try_from(started.elapsed().as_micros())?)?;
        number += WRITERS;
    }
    Ok(took)
}

/// Lets all writers write while `meanwhile` runs. Returns the times of their writes.
fn writes_while(
    telemetry: &Telemetry,
    first: &mut usize,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<Histogram<u64>> {
    let done = AtomicBool::new(false);
    let mut all = Histogram::new(3)?;
    let outcome = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (first, done) = (*first + writer, &done);
                scope.spawn(move || writes(telemetry, first, done))
            })
            .collect();
        let outcome = meanwhile();
        done.store(true, Ordering::Relaxed);
        for writer in writers {
            let took = writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
            all.add(took)?;
        }
        outcome
    });
    outcome?;
    *first += usize::try_from(all.len())? * WRITERS;
    Ok(all)
}

/// Returns the number of traces that have expired and are not deleted yet.
fn expired(db: &rusqlite::Connection) -> Result<i64> {
    let sql =
        "SELECT count(*) FROM trace WHERE expires <= CAST(strftime('%s', 'now') AS INTEGER) * 1000000000";
    Ok(db.query_row(sql, [], |row| row.get(0))?)
}

fn megabytes(file: &Path) -> f64 {
    std::fs::metadata(file).map_or(0.0, |metadata| metadata.len() as f64 / 1e6)
}

pub(crate) fn run(spans: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("ours.db");
    let text = |text: &str| OptionValue::Text(text.to_owned());
    let path = file.to_str().context("the temporary folder's path is UTF-8")?;
    let options = Options::from_pairs([("path", text(path)), ("purge_interval", text("200ms"))]);
    let context = SinkContext { service_name: "bench".into(), options, run: RunId(1) };
    let pipeline =
        Pipeline::start(vec![SinkSpec { entry: &sink_sqlite::ENTRY, context }], PipelineConfig::default())?;
    let telemetry = pipeline.telemetry();
    // Long enough that nothing expires before the writes without a purge are measured.
    let seconds = 20 + spans as u64 / 15_000;
    let started = Instant::now();
    let ttl = Ttl::from_seconds(seconds).context("not zero")?;
    let requests = (0..spans).step_by(BATCH).map(|from| submissions(from, spans.min(from + BATCH), ttl));
    submit_all(&telemetry, requests)?;
    let mut first = spans;
    let calm = writes_while(&telemetry, &mut first, || {
        std::thread::park_timeout(CALM);
        Ok(())
    })?;
    let db = rusqlite::Connection::open_with_flags(&file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    ensure!(expired(&db)? == 0, "filling the store took too long: {:?}", started.elapsed());
    let full = megabytes(&file);
    while expired(&db)? == 0 {
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let purge = Instant::now();
    let during = writes_while(&telemetry, &mut first, || {
        // The time from the first expiry to the last is the time that filling the store took.
        let last = started + Duration::from_secs(seconds) + CALM;
        while Instant::now() < last || expired(&db)? > 0 {
            ensure!(purge.elapsed() < DEADLINE, "the purge did not finish within {DEADLINE:?}");
            std::thread::park_timeout(Duration::from_millis(100));
        }
        Ok(())
    })?;
    println!("{spans} spans expire while {WRITERS} writers go on, one acknowledged span at a time");
    println!(
        "  without: {} writes, p50 {} µs, p99 {} µs, max {} µs",
        calm.len(),
        calm.value_at_quantile(0.5),
        calm.value_at_quantile(0.99),
        calm.max()
    );
    println!(
        "  during:  {} writes, p50 {} µs, p99 {} µs, max {} µs",
        during.len(),
        during.value_at_quantile(0.5),
        during.value_at_quantile(0.99),
        during.max()
    );
    let (p99, limit) =
        (during.value_at_quantile(0.99) as f64 / 1e3, calm.value_at_quantile(0.99) as f64 / 1e3);
    line("p99 of a write during a purge; promise <= 3 x without", p99, "ms", "p99 without a purge", limit);
    println!("  the purge took {:.1} s", purge.elapsed().as_secs_f64());
    let shrink = Instant::now();
    while megabytes(&file) > full / 2.0 && shrink.elapsed() < DEADLINE {
        std::thread::park_timeout(Duration::from_millis(200));
    }
    line("size of the file afterwards", megabytes(&file), "MB", "before the purge", full);
    drop(db);
    let report = pipeline.shutdown(DEADLINE);
    ensure!(report.abandoned.is_empty() && report.ledger.sinks[0].failed == 0, "{report:?}");
    Ok(())
}
