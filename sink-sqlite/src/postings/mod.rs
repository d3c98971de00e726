//! The attribute index: which of a block's spans may hold a value.
//!
//! Finished spans are numbered; 8,192 numbers are a block. While a block fills, the tokens of its
//! spans (a hash per key and value) are collected in memory; when it is full they are sorted and
//! written, split by hash into 128 shards, inside the transaction that fills it. A query asks one
//! shard per block and condition, and rechecks the rows it is pointed at: the index may name too many
//! spans, never too few. The block being filled is scanned.

mod lookup;
mod seal;
mod token;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use telemetry_core::{Attributes, Span, SpanId, SpanKind, SpanStatus};

use crate::rows::{attributes_of, span_id_of, word};

pub(crate) use lookup::{candidates, rows_of};
use seal::seal;
use token::{Tokens, tokens_of};

/// Numbers of finished spans per block.
pub(crate) const BLOCK: i64 = 8_192;

/// The block that is being filled: what its spans hold.
#[derive(Debug, Default)]
pub(crate) struct OpenBlock {
    block: i64,
    tokens: Tokens,
}

/// What of a span is indexed.
struct Indexed<'a> {
    span_id: SpanId,
    name: &'a str,
    kind: SpanKind,
    status: Option<SpanStatus>,
    attributes: &'a Attributes,
}

impl OpenBlock {
    /// Reads the block that an earlier run left unfinished, or that a failed transaction spoiled.
    pub(crate) async fn load(db: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let next: i64 = sqlx::query_scalar("SELECT next_span FROM meta").fetch_one(&mut *db).await?;
        let mut open = Self { block: next / BLOCK, tokens: Tokens::default() };
        // One by one: together their attributes may be many megabytes.
        let mut rows =
            sqlx::query("SELECT id, span_id, name, kind, status, attributes FROM span_row WHERE id >= ?")
                .bind(open.block * BLOCK)
                .fetch(db);
        while let Some(row) = rows.try_next().await? {
            open.add_row(&row)?;
        }
        drop(rows);
        Ok(open)
    }

    fn add_row(&mut self, row: &SqliteRow) -> Result<(), sqlx::Error> {
        let attributes = attributes_of(row.try_get_unchecked(5)?)?;
        let indexed = Indexed {
            span_id: span_id_of(row.try_get_unchecked(1)?)?,
            name: row.try_get_unchecked(2)?,
            kind: word(row.try_get_unchecked(3)?)?,
            status: row.try_get_unchecked::<Option<i64>, _>(4)?.map(word).transpose()?,
            attributes: &attributes,
        };
        tokens_of(&indexed, slot_of(row.try_get_unchecked(0)?), &mut self.tokens);
        Ok(())
    }
}

/// The place of a span within its block.
fn slot_of(id: i64) -> u16 {
    u16::try_from(id.rem_euclid(BLOCK)).unwrap_or(0)
}

/// Takes note of finished spans, numbered from `first`; seals the blocks that they fill.
pub(crate) async fn add(
    db: &mut SqliteConnection,
    open: &mut OpenBlock,
    first: i64,
    spans: &[(i64, &Span)],
) -> Result<(), sqlx::Error> {
    let mut newest: Option<i64> = None;
    for (id, (_, span)) in (first..).zip(spans) {
        if id / BLOCK != open.block {
            if let Some(newest) = newest.take() {
                note(db, open.block, newest).await?;
            }
            seal(db, open.block, std::mem::take(&mut open.tokens)).await?;
            open.block = id / BLOCK;
        }
        let start = span.start_time.as_nanos();
        newest = Some(newest.map_or(start, |newest| newest.max(start)));
        let indexed = Indexed {
            span_id: span.span_id,
            name: &span.name,
            kind: span.kind,
            status: span.status,
            attributes: &span.attributes,
        };
        tokens_of(&indexed, slot_of(id), &mut open.tokens);
    }
    match newest {
        Some(newest) => note(db, open.block, newest).await,
        None => Ok(()),
    }
}

/// Keeps the start of the newest span of a block, so that queries can take blocks newest first.
async fn note(db: &mut SqliteConnection, block: i64, newest: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO block (id, newest, sealed) VALUES (?1, ?2, 0) \
         ON CONFLICT (id) DO UPDATE SET newest = max(newest, excluded.newest)",
    )
    .bind(block)
    .bind(newest)
    .execute(db)
    .await?;
    Ok(())
}
