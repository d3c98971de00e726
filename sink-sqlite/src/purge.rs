//! Deletes what has expired, in small steps, and returns the space to the file system.

use sqlx::{Connection as _, SqliteConnection};
use telemetry_core::Timestamp;

use crate::bulk_statement::json_list;
use crate::postings::BLOCK;

/// Traces that a file which is too large loses at a time.
const OLDEST_AT_A_TIME: i64 = 8;

/// Deletes about `rows` rows, or returns some space to the file system. Returns true if there may be more to do.
pub(crate) async fn step(
    db: &mut SqliteConnection,
    now: Timestamp,
    rows: i64,
    max_size: Option<u64>,
) -> Result<bool, sqlx::Error> {
    let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
    let mut changed =
        delete_expired(&mut transaction, now, rows).await? || delete_empty_block(&mut transaction).await?;
    if !changed && is_too_large(&mut transaction, max_size).await? {
        changed = expire_oldest(&mut transaction, now).await?;
    }
    transaction.commit().await?;
    if changed {
        return Ok(true);
    }
    return_space(db, rows).await
}

/// Deletes expired rows. Returns true if there were any. The row of a trace goes last: while it is there, queries see
/// that the trace has expired.
async fn delete_expired(db: &mut SqliteConnection, now: Timestamp, rows: i64) -> Result<bool, sqlx::Error> {
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
             FROM json_each(?1) j CROSS JOIN metric_point p ON p.trace = j.value LIMIT ?2)",
            "DELETE FROM trace WHERE id IN (SELECT value FROM json_each(?1) LIMIT ?2)",
        ] {
            if left > 0 {
                let done = sqlx::query(sql).bind(&list).bind(left).execute(&mut *db).await?;
                left -= done.rows_affected().cast_signed();
            }
        }
        // There may be more expired traces. What belongs to no trace is deleted after them.
        return Ok(true);
    }
    for sql in [
        "DELETE FROM log_row WHERE id IN (SELECT id FROM log_row WHERE expires <= ?1 LIMIT ?2)",
        "DELETE FROM metric_point WHERE trace IS NULL AND (series, time, id) IN \
         (SELECT series, time, id FROM metric_point WHERE trace IS NULL AND expires <= ?1 LIMIT ?2)",
        "DELETE FROM end_waiting WHERE (trace_id, span_id) IN \
         (SELECT trace_id, span_id FROM end_waiting WHERE arrived + ttl * 1000000000 <= ?1 LIMIT ?2)",
        "DELETE FROM stream_mark WHERE stream IN \
         (SELECT stream FROM stream_mark WHERE expires <= ?1 LIMIT ?2)",
    ] {
        if left > 0 {
            let done = sqlx::query(sql).bind(now.as_nanos()).bind(left).execute(&mut *db).await?;
            left -= done.rows_affected().cast_signed();
        }
    }
    Ok(left < rows)
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

/// Returns true if the pages in use exceed the largest size. Free pages do not count: a later step returns them.
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

/// Lets the oldest traces expire now or, if there are none, the oldest events that belong to no trace. Returns true if
/// there were any. Queries no longer show them; later steps delete them.
async fn expire_oldest(db: &mut SqliteConnection, now: Timestamp) -> Result<bool, sqlx::Error> {
    for sql in [
        "UPDATE trace SET expires = ?1 WHERE id IN \
         (SELECT id FROM trace WHERE expires > ?1 ORDER BY id LIMIT ?2)",
        "UPDATE log_row SET expires = ?1 WHERE id IN \
         (SELECT id FROM log_row WHERE expires > ?1 ORDER BY expires LIMIT 64 * ?2)",
        "UPDATE metric_point SET expires = ?1 WHERE trace IS NULL AND (series, time, id) IN \
         (SELECT series, time, id FROM metric_point WHERE trace IS NULL AND expires > ?1 \
          ORDER BY expires LIMIT 64 * ?2)",
    ] {
        let done = sqlx::query(sql).bind(now.as_nanos()).bind(OLDEST_AT_A_TIME).execute(&mut *db).await?;
        if done.rows_affected() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
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
