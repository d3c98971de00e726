//! Deletes what has expired, in small steps between commits, and gives the space back.

use std::sync::{Arc, Weak};

use sqlx::{Connection as _, Row as _, SqliteConnection};
use telemetry_core::Timestamp;
use tokio::sync::Mutex;

use crate::Config;
use crate::postings::BLOCK;
use crate::statement::json_list;
use crate::writer::Writer;

/// Traces, logs and points deleted per step: a step takes a few milliseconds.
const STEP: i64 = 200;
/// Pages given back per step.
const VACUUM: &str = "PRAGMA incremental_vacuum(256)";

/// Runs until aborted: every `purge_interval`, deletes step by step until nothing is left to delete.
pub(crate) async fn run(writer: Weak<Mutex<Writer>>, config: Arc<Config>) {
    loop {
        tokio::time::sleep(config.purge_interval).await;
        loop {
            // Held for one step only: the file is free as soon as the sink lets go of it.
            let Some(writer) = writer.upgrade() else { return };
            let step = writer.lock().await.purge_step(Timestamp::now()).await;
            drop(writer);
            match step {
                Ok(true) => tokio::task::yield_now().await,
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(
                        error = error.full_text(),
                        "deleting expired data failed; trying again later"
                    );
                    break;
                }
            }
        }
    }
}

/// Deletes a little; says whether there may be more.
pub(crate) async fn step(
    db: &mut SqliteConnection,
    now: Timestamp,
    max_size: Option<u64>,
) -> Result<bool, sqlx::Error> {
    let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
    let mut traces = expired(&mut transaction, now).await?;
    if traces.is_empty() && is_too_large(&mut transaction, max_size).await? {
        traces = oldest(&mut transaction).await?;
    }
    let mut deleted = delete_traces(&mut transaction, &traces).await?;
    for sql in [
        "DELETE FROM log_row WHERE id IN (SELECT id FROM log_row WHERE expires <= ?1 LIMIT ?2)",
        "DELETE FROM metric_point WHERE trace IS NULL AND (series, time, id) IN \
         (SELECT series, time, id FROM metric_point WHERE trace IS NULL AND expires <= ?1 LIMIT ?2)",
        "DELETE FROM end_waiting WHERE (trace_id, span_id) IN \
         (SELECT trace_id, span_id FROM end_waiting WHERE arrived + ttl * 1000000000 <= ?1 LIMIT ?2)",
        "DELETE FROM stream_mark WHERE stream IN \
         (SELECT stream FROM stream_mark WHERE expires <= ?1 LIMIT ?2)",
    ] {
        let done = sqlx::query(sql).bind(now.as_nanos()).bind(STEP).execute(&mut *transaction).await?;
        deleted += done.rows_affected();
    }
    transaction.commit().await?;
    if deleted > 0 {
        return Ok(true);
    }
    drop_dead_blocks(db).await?;
    let free: i64 = sqlx::query("PRAGMA freelist_count").fetch_one(&mut *db).await?.try_get(0)?;
    if free > 0 {
        sqlx::raw_sql(VACUUM).execute(db).await?;
    }
    Ok(free > 256)
}

async fn expired(db: &mut SqliteConnection, now: Timestamp) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM trace WHERE expires <= ? ORDER BY expires LIMIT ?")
        .bind(now.as_nanos())
        .bind(STEP)
        .fetch_all(db)
        .await
}

async fn oldest(db: &mut SqliteConnection) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM trace ORDER BY id LIMIT ?").bind(STEP).fetch_all(db).await
}

/// Whether the pages in use exceed the cap; free ones are given back later.
async fn is_too_large(db: &mut SqliteConnection, max_size: Option<u64>) -> Result<bool, sqlx::Error> {
    let Some(max_size) = max_size else { return Ok(false) };
    let used: i64 = sqlx::query_scalar(
        "SELECT (c.page_count - f.freelist_count) * s.page_size \
         FROM pragma_page_count c, pragma_freelist_count f, pragma_page_size s",
    )
    .fetch_one(db)
    .await?;
    Ok(u64::try_from(used).unwrap_or(0) > max_size)
}

/// Deletes traces with all that belongs to them; says how many.
async fn delete_traces(db: &mut SqliteConnection, traces: &[i64]) -> Result<u64, sqlx::Error> {
    if traces.is_empty() {
        return Ok(0);
    }
    let list = json_list(traces.iter().copied());
    for sql in [
        "DELETE FROM span_row WHERE trace IN (SELECT value FROM json_each(?))",
        "DELETE FROM span_open WHERE trace IN (SELECT value FROM json_each(?))",
        "DELETE FROM log_row WHERE trace IN (SELECT value FROM json_each(?))",
        "DELETE FROM metric_point WHERE trace IN (SELECT value FROM json_each(?))",
        "DELETE FROM trace WHERE id IN (SELECT value FROM json_each(?))",
    ] {
        sqlx::query(sql).bind(&list).execute(&mut *db).await?;
    }
    Ok(traces.len() as u64)
}

/// Deletes blocks, with their postings, in which no span is left. Never the one being filled.
async fn drop_dead_blocks(db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let dead: Vec<i64> = sqlx::query_scalar(
        "SELECT b.id FROM block b WHERE b.sealed AND NOT EXISTS \
         (SELECT 1 FROM span_row s WHERE s.id BETWEEN b.id * ?1 AND b.id * ?1 + ?1 - 1) LIMIT 64",
    )
    .bind(BLOCK)
    .fetch_all(&mut *db)
    .await?;
    for block in dead {
        for sql in [
            "DELETE FROM posting WHERE id >> 7 = ?1",
            "DELETE FROM number WHERE id >> 7 = ?1",
            "DELETE FROM block WHERE id = ?1",
        ] {
            sqlx::query(sql).bind(block).execute(&mut *db).await?;
        }
    }
    Ok(())
}
