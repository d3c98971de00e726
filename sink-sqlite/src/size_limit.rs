//! Keeps the file below its largest size: the oldest data expires early, whatever its kind.

use sqlx::SqliteConnection;
use telemetry_core::Timestamp;

use crate::bulk_statement::json_list;

/// The bytes that a row certainly occupies. Estimates how many rows must go.
const BYTES_PER_ROW: u64 = 256;
/// Traces, and rows of no trace, that expire at a time, at most.
const AT_A_TIME: (u64, u64) = (512, 8_192);

/// Returns by how many bytes the pages in use exceed `max_size`. Free pages do not count: writes use them again.
pub(crate) async fn excess(db: &mut SqliteConnection, max_size: u64) -> Result<u64, sqlx::Error> {
    let used: i64 = sqlx::query_scalar(
        "SELECT (c.page_count - f.freelist_count) * s.page_size \
         FROM pragma_page_count c, pragma_freelist_count f, pragma_page_size s",
    )
    .fetch_one(db)
    .await?;
    Ok(u64::try_from(used).unwrap_or(0).saturating_sub(max_size))
}

/// What the oldest data belongs to.
#[derive(Clone, Copy)]
enum Kind {
    Trace,
    Log,
    MetricPoint,
}

/// Lets the oldest data expire now, about as much as `excess` bytes. Returns true if there was any. Queries no longer
/// show it, and a purge deletes it.
///
/// The oldest is what arrived first: a trace, a log or a metric point that belongs to no trace.
pub(crate) async fn expire_oldest(
    db: &mut SqliteConnection,
    now: Timestamp,
    excess: u64,
) -> Result<bool, sqlx::Error> {
    let mut oldest: Option<(i64, Kind)> = None;
    for (kind, sql) in [
        (Kind::Trace, "SELECT created FROM trace NOT INDEXED WHERE expires > ? ORDER BY id LIMIT 1"),
        (Kind::Log, "SELECT time + lag FROM log_row WHERE expires > ? ORDER BY expires LIMIT 1"),
        (
            Kind::MetricPoint,
            "SELECT time + lag FROM metric_point WHERE trace IS NULL AND expires > ? ORDER BY expires LIMIT 1",
        ),
    ] {
        let arrived: Option<i64> =
            sqlx::query_scalar(sql).bind(now.as_nanos()).fetch_optional(&mut *db).await?;
        if let Some(arrived) = arrived
            && oldest.is_none_or(|(first, _)| arrived < first)
        {
            oldest = Some((arrived, kind));
        }
    }
    let rows = (excess / BYTES_PER_ROW + 1).min(AT_A_TIME.1).cast_signed();
    let sql = match oldest {
        None => return Ok(false),
        Some((_, Kind::Trace)) => return expire_traces(db, now, rows).await.map(|()| true),
        Some((_, Kind::Log)) => {
            "UPDATE log_row SET expires = ?1 WHERE id IN \
             (SELECT id FROM log_row WHERE expires > ?1 ORDER BY expires LIMIT ?2)"
        }
        Some((_, Kind::MetricPoint)) => {
            "UPDATE metric_point SET expires = ?1 WHERE trace IS NULL AND (series, time, id) IN \
             (SELECT series, time, id FROM metric_point WHERE trace IS NULL AND expires > ?1 \
              ORDER BY expires LIMIT ?2)"
        }
    };
    let done = sqlx::query(sql).bind(now.as_nanos()).bind(rows).execute(db).await?;
    Ok(done.rows_affected() > 0)
}

/// Lets the oldest traces expire that have about `rows` spans and logs together, at least one trace.
async fn expire_traces(db: &mut SqliteConnection, now: Timestamp, rows: i64) -> Result<(), sqlx::Error> {
    let sizes: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT t.id, (SELECT count(*) FROM span_row s WHERE s.trace = t.id) \
           + (SELECT count(*) FROM log_row l WHERE l.trace = t.id) \
         FROM trace t NOT INDEXED WHERE t.expires > ? ORDER BY t.id LIMIT ?",
    )
    .bind(now.as_nanos())
    .bind(AT_A_TIME.0.cast_signed())
    .fetch_all(&mut *db)
    .await?;
    let mut left = rows;
    let enough = sizes.iter().take_while(|(_, size)| {
        let needed = left > 0;
        left -= size + 1;
        needed
    });
    sqlx::query("UPDATE trace SET expires = ?1 WHERE id IN (SELECT value FROM json_each(?2))")
        .bind(now.as_nanos())
        .bind(json_list(enough.map(|(id, _)| *id)))
        .execute(db)
        .await?;
    Ok(())
}
