//! Deletes what has expired, in small steps, and returns the space to the file system.

use sqlx::{Connection as _, Sqlite, SqliteConnection};
use telemetry_core::Timestamp;

use crate::bulk_statement::json_list;
use crate::postings::BLOCK;
use crate::size_limit;

/// The outcome of a step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Step {
    /// True if there may be more to do.
    pub(crate) more: bool,
    /// True if series were deleted.
    pub(crate) deleted_series: bool,
}

/// Deletes about `rows` rows, or returns some space to the file system.
pub(crate) async fn step(
    db: &mut SqliteConnection,
    now: Timestamp,
    rows: i64,
    max_size: Option<u64>,
) -> Result<Step, sqlx::Error> {
    let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
    let mut deleted_series = false;
    let mut changed = delete_expired(&mut transaction, now, rows, &mut deleted_series).await?
        || delete_empty_block(&mut transaction).await?;
    if !changed && let Some(max_size) = max_size {
        let excess = size_limit::excess(&mut transaction, max_size).await?;
        changed = excess > 0 && size_limit::expire_oldest(&mut transaction, now, excess).await?;
    }
    transaction.commit().await?;
    let more = changed || return_space(db, rows).await?;
    Ok(Step { more, deleted_series })
}

/// Deletes expired rows. Returns true if there were any. The row of a trace goes last: while it is there, queries see
/// that the trace has expired.
async fn delete_expired(
    db: &mut SqliteConnection,
    now: Timestamp,
    rows: i64,
    deleted_series: &mut bool,
) -> Result<bool, sqlx::Error> {
    let traces: Vec<i64> =
        sqlx::query_scalar("SELECT id FROM trace WHERE expires <= ? ORDER BY expires LIMIT ?")
            .bind(now.as_nanos())
            .bind((rows / 4).max(1))
            .fetch_all(&mut *db)
            .await?;
    let mut left = rows;
    if !traces.is_empty() {
        let list = json_list(traces.iter().copied());
        for sql in [
            "DELETE FROM span_row WHERE id IN (SELECT s.id FROM json_each(?1) j CROSS JOIN span_row s \
             ON s.trace = j.value LIMIT ?2)",
            "DELETE FROM span_open WHERE (trace, span_id) IN (SELECT s.trace, s.span_id FROM json_each(?1) j \
             CROSS JOIN span_open s ON s.trace = j.value LIMIT ?2)",
            "DELETE FROM log_row WHERE id IN (SELECT l.id FROM json_each(?1) j CROSS JOIN log_row l \
             ON l.trace = j.value LIMIT ?2)",
            "DELETE FROM metric_point WHERE (series, time, id) IN (SELECT p.series, p.time, p.id \
             FROM json_each(?1) j CROSS JOIN metric_point p ON p.trace = j.value LIMIT ?2) RETURNING series",
            "DELETE FROM trace WHERE id IN (SELECT value FROM json_each(?1) LIMIT ?2)",
        ] {
            if left > 0 {
                left -= delete(db, sql, list.as_str(), left, deleted_series).await?;
            }
        }
        // There may be more expired traces. What belongs to no trace is deleted after them.
        return Ok(true);
    }
    for sql in [
        "DELETE FROM log_row WHERE id IN (SELECT id FROM log_row WHERE expires <= ?1 LIMIT ?2)",
        "DELETE FROM metric_point WHERE trace IS NULL AND (series, time, id) IN \
         (SELECT series, time, id FROM metric_point WHERE trace IS NULL AND expires <= ?1 LIMIT ?2) \
         RETURNING series",
        "DELETE FROM end_waiting WHERE (trace_id, span_id) IN \
         (SELECT trace_id, span_id FROM end_waiting WHERE arrived + ttl * 1000000000 <= ?1 LIMIT ?2)",
        "DELETE FROM stream_mark WHERE stream IN \
         (SELECT stream FROM stream_mark WHERE expires <= ?1 LIMIT ?2)",
    ] {
        if left > 0 {
            left -= delete(db, sql, now.as_nanos(), left, deleted_series).await?;
        }
    }
    Ok(left < rows)
}

/// Deletes up to `limit` rows. Returns how many. A statement that deletes metric points returns their series: those
/// without points are deleted too.
async fn delete<'q, T>(
    db: &mut SqliteConnection,
    sql: &'static str,
    which: T,
    limit: i64,
    deleted_series: &mut bool,
) -> Result<i64, sqlx::Error>
where
    T: sqlx::Encode<'q, Sqlite> + sqlx::Type<Sqlite> + 'q,
{
    if !sql.ends_with("RETURNING series") {
        let done = sqlx::query(sql).bind(which).bind(limit).execute(db).await?;
        return Ok(done.rows_affected().cast_signed());
    }
    let mut series: Vec<i64> = sqlx::query_scalar(sql).bind(which).bind(limit).fetch_all(&mut *db).await?;
    let deleted = i64::try_from(series.len()).unwrap_or(i64::MAX);
    series.sort_unstable();
    series.dedup();
    if !series.is_empty() {
        let done = sqlx::query(
            "DELETE FROM metric_series WHERE id IN (SELECT value FROM json_each(?)) \
             AND NOT EXISTS (SELECT 1 FROM metric_point p WHERE p.series = metric_series.id)",
        )
        .bind(json_list(series))
        .execute(db)
        .await?;
        *deleted_series |= done.rows_affected() > 0;
    }
    Ok(deleted)
}

/// Deletes a sealed block in which no span is left, with its postings. Returns true if there was one.
async fn delete_empty_block(db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let empty: Option<i64> = sqlx::query_scalar(
        "SELECT b.id FROM block b WHERE b.sealed AND NOT EXISTS \
         (SELECT 1 FROM span_row s WHERE s.id BETWEEN b.id * ?1 AND b.id * ?1 + ?1 - 1) LIMIT 1",
    )
    .bind(BLOCK)
    .fetch_optional(&mut *db)
    .await?;
    let Some(block) = empty else { return Ok(false) };
    for sql in [
        "DELETE FROM posting WHERE id BETWEEN ?1 << 7 AND (?1 << 7) + 127",
        "DELETE FROM number WHERE id BETWEEN ?1 << 7 AND (?1 << 7) + 127",
        "DELETE FROM number_range WHERE id BETWEEN ?1 << 7 AND (?1 << 7) + 127",
        "DELETE FROM block WHERE id = ?1",
    ] {
        sqlx::query(sql).bind(block).execute(&mut *db).await?;
    }
    Ok(true)
}

/// Returns free pages to the file system. Returns true if there may be more.
async fn return_space(db: &mut SqliteConnection, rows: i64) -> Result<bool, sqlx::Error> {
    let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *db).await?;
    if free == 0 {
        return Ok(false);
    }
    // Constants, since a pragma takes no parameter. A page takes about as long as a few rows.
    let vacuum = match rows {
        ..256 => "PRAGMA incremental_vacuum(32)",
        256..2_048 => "PRAGMA incremental_vacuum(128)",
        _ => "PRAGMA incremental_vacuum(512)",
    };
    sqlx::raw_sql(vacuum).execute(db).await?;
    Ok(true)
}
