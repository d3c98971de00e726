//! Spans into SQLite, durable, end to end, beside plain rows; then queries over what was stored.

mod metrics;
mod queries;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use telemetry_core::{
    Event, OptionValue, Options, RunId, Severity, SinkContext, SpanId, SpanStatus, Submission, Timestamp,
    TraceId, Ttl, attrs,
};
use telemetry_pipeline::{Pipeline, PipelineConfig, Receipt, SinkSpec};

use crate::table::line;

use queries::Curve;

/// Spans of a trace.
const TRACE: usize = 10;
/// One trace has so many: those that are numbered from here on.
const LARGE: usize = CONCURRENT * TRACE;
/// Spans per submission, and per transaction of the plain rows.
const BATCH: usize = 2_000;
/// Spans in memory at a time.
const AT_ONCE: usize = 50_000;
const DEADLINE: Duration = Duration::from_secs(120);
const FIRST_TIME: i64 = 1_772_366_400_000_000_000;

/// Traces that are under way at once: their spans arrive in turn, as those of a busy server do.
const CONCURRENT: usize = 100;

/// A span as both sides store it: about 235 bytes of attributes.
struct Sample {
    trace: u128,
    session: usize,
    id: u64,
    parent: Option<u64>,
    start: i64,
}

/// Ids look random, as real ones do; the same at every run.
fn sample(number: usize) -> Sample {
    let mix = |value: u64| {
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    let id = |number: usize| mix(number as u64 + 1);
    let root = root(number);
    Sample {
        trace: u128::from(mix(root as u64 + 7)) << 64 | u128::from(id(root)),
        session: root / (CONCURRENT * TRACE) * 10 + root % 10,
        id: id(number),
        parent: (number != root).then(|| id(root)),
        start: FIRST_TIME + i64::try_from(number).unwrap_or(0) * 1_000_000,
    }
}

/// The first span of the trace that span `number` belongs to.
const fn root(number: usize) -> usize {
    if number / LARGE == 1 {
        return LARGE;
    }
    number / (CONCURRENT * TRACE) * (CONCURRENT * TRACE) + number % CONCURRENT
}

fn attributes(number: usize) -> telemetry_core::Attributes {
    attrs! {
        "session_id" => format!("session-{:012}", sample(number).session),
        "model_id" => "meta-llama/Llama-3.2-3B-Instruct",
        "request" => format!("request-{number:016}-{:032x}", sample(number).trace),
        "tokens" => i64::try_from(number % 4_096).unwrap_or(0),
        "output" => "The quick brown fox jumps over the lazy dog again",
    }
}

pub(crate) fn events(number: usize) -> [Event; 3] {
    let Sample { trace, id, parent, start, .. } = sample(number);
    let trace = TraceId::from_u128(trace).unwrap_or_else(telemetry_pipeline::random_trace_id);
    let span = SpanId::from_u64(id).unwrap_or_else(telemetry_pipeline::random_span_id);
    let begin = Event::span_start(trace, span, "inference").with_attributes(attributes(number));
    let begin = match parent.and_then(SpanId::from_u64) {
        Some(parent) => begin.with_parent(parent),
        None => begin,
    };
    let key = telemetry_core::SpanKey::new(trace, span);
    let log =
        Event::log(Severity::Info, "prompt received").in_context(telemetry_core::EventContext::Span(key));
    [
        begin.at(Timestamp::from_nanos(start)),
        log.at(Timestamp::from_nanos(start + 1_000)),
        Event::span_end(trace, span, SpanStatus::Ok).at(Timestamp::from_nanos(start + 900_000)),
    ]
}

fn submissions(from: usize, to: usize) -> Vec<Submission> {
    (from..to).flat_map(events).map(|event| Submission::Event { event, ttl: Ttl::default() }).collect()
}

/// Submits, a few batches ahead of what is acknowledged; says how long until all is.
pub(crate) fn acknowledged(pipeline: &Pipeline, batches: Vec<Vec<Submission>>) -> Result<Duration> {
    let telemetry = pipeline.telemetry();
    let started = Instant::now();
    let mut waiting = std::collections::VecDeque::<Receipt>::new();
    for batch in batches {
        if waiting.len() >= 8
            && let Some(receipt) = waiting.pop_front()
        {
            receipt.wait(DEADLINE)?;
        }
        waiting.push_back(telemetry.submit(batch)?);
    }
    for receipt in waiting {
        receipt.wait(DEADLINE)?;
    }
    Ok(started.elapsed())
}

/// Sends the spans `from..to` through the whole pipeline, every one acknowledged; the time without that of making them.
fn ours(pipeline: &Pipeline, from: usize, to: usize) -> Result<Duration> {
    let mut took = Duration::ZERO;
    for from in (from..to).step_by(AT_ONCE) {
        let to = to.min(from + AT_ONCE);
        // Made beforehand, as the plain rows are.
        let batches = (from..to).step_by(BATCH).map(|from| submissions(from, to.min(from + BATCH)));
        took += acknowledged(pipeline, batches.collect())?;
    }
    Ok(took)
}

/// Spans per second as plain rows: binary ids, integer nanoseconds, JSON text, a span found by its ids
/// and by its start, a log by its span.
fn plain(path: &Path, spans: usize) -> Result<f64> {
    const ROWS: usize = 50;
    let db = rusqlite::Connection::open(path)?;
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -32768;
         CREATE TABLE span (trace_id BLOB, span_id BLOB, parent BLOB, name TEXT, start INTEGER, end INTEGER,
                            status INTEGER, attributes TEXT, UNIQUE (trace_id, span_id));
         CREATE INDEX span_start ON span (start);
         CREATE TABLE log (trace_id BLOB, span_id BLOB, time INTEGER, severity INTEGER, message TEXT, attributes TEXT);
         CREATE INDEX log_span ON log (trace_id, span_id);",
    )?;
    let values = |columns: usize| {
        let row = format!("({})", vec!["?"; columns].join(","));
        vec![row; ROWS].join(",")
    };
    let span_sql = format!("INSERT INTO span VALUES {}", values(8));
    let log_sql = format!("INSERT INTO log VALUES {}", values(6));
    let mut took = Duration::ZERO;
    for from in (0..spans).step_by(BATCH) {
        let batch: Vec<usize> = (from..spans.min(from + BATCH)).collect();
        let json: Vec<String> = batch.iter().map(|number| attributes(*number).to_json()).collect();
        let started = Instant::now();
        let transaction = db.unchecked_transaction()?;
        let mut insert_span = transaction.prepare_cached(&span_sql)?;
        let mut insert_log = transaction.prepare_cached(&log_sql)?;
        for rows in batch.chunks_exact(ROWS) {
            for (row, &number) in rows.iter().enumerate() {
                let Sample { trace, id, parent, start, .. } = sample(number);
                let (trace, id) = (trace.to_be_bytes(), id.to_be_bytes());
                let at = row * 8;
                insert_span.raw_bind_parameter(at + 1, &trace[..])?;
                insert_span.raw_bind_parameter(at + 2, &id[..])?;
                insert_span.raw_bind_parameter(at + 3, parent.map(u64::to_be_bytes))?;
                insert_span.raw_bind_parameter(at + 4, "inference")?;
                insert_span.raw_bind_parameter(at + 5, start)?;
                insert_span.raw_bind_parameter(at + 6, start + 900_000)?;
                insert_span.raw_bind_parameter(at + 7, 1)?;
                insert_span.raw_bind_parameter(at + 8, json[number - from].as_str())?;
                let at = row * 6;
                insert_log.raw_bind_parameter(at + 1, &trace[..])?;
                insert_log.raw_bind_parameter(at + 2, &id[..])?;
                insert_log.raw_bind_parameter(at + 3, start + 1_000)?;
                insert_log.raw_bind_parameter(at + 4, 2)?;
                insert_log.raw_bind_parameter(at + 5, "prompt received")?;
                insert_log.raw_bind_parameter(at + 6, "{}")?;
            }
            insert_span.raw_execute()?;
            insert_log.raw_execute()?;
        }
        drop((insert_span, insert_log));
        transaction.commit()?;
        took += started.elapsed();
    }
    let rate = spans as f64 / took.as_secs_f64();
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(rate)
}

/// Plain rows are compared up to here: beyond, their indexes make them slower and slower.
const PLAIN: usize = 1_000_000;

pub(crate) fn run(spans: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (plain_file, our_file) = (folder.path().join("plain.db"), folder.path().join("ours.db"));
    let compared = spans.min(PLAIN);
    let plain_rate = plain(&plain_file, compared)?;
    let plain_size = std::fs::metadata(&plain_file)?.len() as f64 / compared as f64;
    std::fs::remove_file(plain_file)?;
    let path = our_file.to_str().context("the temporary folder's path is UTF-8")?.to_owned();
    let options = Options::from_pairs([("path", OptionValue::Text(path))]);
    let context = SinkContext { service_name: "bench".into(), options, run: RunId(1) };
    let sinks = vec![SinkSpec { entry: &sink_sqlite::ENTRY, context }];
    let pipeline = Pipeline::start(sinks, PipelineConfig::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("spans with their logs, {} bytes of attributes in 5 keys", attributes(0).to_json().len());
    let mut sizes: Vec<usize> = [10_000, 100_000, 1_000_000, 10_000_000].into();
    sizes.retain(|size| *size < spans);
    sizes.push(spans);
    let (mut from, mut took) = (0, Duration::ZERO);
    let mut curve = Curve::default();
    for &size in &sizes {
        took += ours(&pipeline, from, size)?;
        from = size;
        if size == compared {
            let rate = size as f64 / took.as_secs_f64();
            let what = "into SQLite, end to end, acknowledged; promise >= 1.0";
            line(what, rate, "spans/s", "plain rows", plain_rate);
            line("the same; promise on a quiet machine", rate, "spans/s", "promise", 50_000.0);
        }
        let store = pipeline.telemetry().store().context("sqlite is a store")?;
        runtime.block_on(queries::ask(&*store, &our_file, size, &mut curve))?;
    }
    curve.print(&sizes);
    println!();
    let size = queries::file_size(&our_file)? / spans as f64;
    line("size on disk per span with its log; promise <= 500", size, "bytes", "plain rows", plain_size);
    line("the same", size, "bytes", "promise", 500.0);
    metrics::run(&pipeline, &runtime, spans.min(1_000_000))?;
    let report = pipeline.shutdown(DEADLINE);
    ensure!(report.abandoned.is_empty() && report.ledger.sinks[0].failed == 0, "{report:?}");
    Ok(())
}
