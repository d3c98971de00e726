//! Blocks of finished spans, so that queries look at the newest first.

use sqlx::{Row as _, SqliteConnection};
use telemetry_core::query::Filter;
use telemetry_core::{Span, SpanId};

use crate::rows::span_id_bits;

/// Numbers of finished spans per block.
pub(crate) const BLOCK: i64 = 16_384;

/// The block that is being filled.
#[derive(Debug, Default)]
pub(crate) struct OpenBlock {}

impl OpenBlock {
    pub(crate) async fn load(_db: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        Ok(Self {})
    }
}

/// Takes note of finished spans, numbered from `first`.
pub(crate) async fn add(
    db: &mut SqliteConnection,
    _open: &mut OpenBlock,
    first: i64,
    spans: &[(i64, &Span)],
) -> Result<(), sqlx::Error> {
    let mut newest = std::collections::BTreeMap::new();
    for (id, (_, span)) in (first..).zip(spans) {
        let start = span.start_time.as_nanos();
        let latest = newest.entry(id / BLOCK).or_insert(start);
        *latest = start.max(*latest);
    }
    for (block, newest) in newest {
        sqlx::query(
            "INSERT INTO block (id, newest, sealed) VALUES (?1, ?2, 0) \
             ON CONFLICT (id) DO UPDATE SET newest = max(newest, excluded.newest)",
        )
        .bind(block)
        .bind(newest)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

pub(crate) async fn candidates(
    _db: &mut SqliteConnection,
    _block: i64,
    _filters: &[Filter],
) -> Result<Option<Vec<i64>>, sqlx::Error> {
    Ok(None)
}

/// The numbers of the finished spans that may have this id.
pub(crate) async fn rows_of(db: &mut SqliteConnection, span: SpanId) -> Result<Vec<i64>, sqlx::Error> {
    let rows = sqlx::query("SELECT id FROM span_row WHERE span_id = ?")
        .bind(span_id_bits(span))
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
