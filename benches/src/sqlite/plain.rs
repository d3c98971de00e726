//! The same spans as plain rows, written by rusqlite.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::samples::{BATCH, Sample, attributes, sample};

/// Writes plain rows and returns spans per second.
///
/// Rows have binary ids, integer nanoseconds and JSON text. Indexes find a span by its ids and by its start, and a log
/// by its span.
pub(super) fn write(path: &Path, spans: usize) -> Result<f64> {
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
