//! Writes the index: notes new spans, and seals the blocks that are full.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use sqlx::SqliteConnection;
use telemetry_core::Span;

use super::block::{BLOCK, Seal};
use super::encoding::{
    encode_numbers, encode_range, encode_shard, encode_starts, number_shard, row_id, shard,
};
use super::tokens::Tokens;
use super::unsealed::{UnsealedBlocks, read_tokens};
use crate::bulk_statement::BulkStatement;
use crate::rows::{Services, table_columns};

/// Adds finished spans, numbered from `first`, to the index. Seals the blocks that they fill.
pub(crate) async fn add_spans(
    db: &mut SqliteConnection,
    unsealed: &UnsealedBlocks,
    own_service: &str,
    first: i64,
    spans: &[(i64, &Span)],
) -> Result<(), sqlx::Error> {
    let mut rest = spans;
    let mut id = first;
    while !rest.is_empty() {
        let room = usize::try_from(BLOCK - id % BLOCK).unwrap_or(1);
        let (fitting, after) = rest.split_at(room.min(rest.len()));
        if let Some((full, tokens)) = unsealed.add(own_service, id, fitting) {
            seal(db, full, tokens).await?;
        }
        let newest = fitting.iter().map(|(_, span)| span.start_time.as_nanos()).max().unwrap_or(i64::MIN);
        store_newest(db, id / BLOCK, newest).await?;
        id += i64::try_from(fitting.len()).unwrap_or(i64::MAX);
        rest = after;
    }
    Ok(())
}

/// Stores the latest start of a block's spans, so that queries can take blocks newest first.
async fn store_newest(db: &mut SqliteConnection, block: i64, newest: i64) -> Result<(), sqlx::Error> {
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

/// Returns a full block that still has to be sealed, with its tokens: an earlier version sealed it with less in its
/// postings, or the program stopped before it was sealed.
pub(crate) async fn next_to_seal(
    db: &mut SqliteConnection,
    services: &Services,
    own_service: &str,
) -> Result<Option<(i64, Tokens)>, sqlx::Error> {
    let sql = "SELECT id FROM block WHERE sealed < ?1 AND id < (SELECT next_span / ?2 FROM meta) \
               ORDER BY id DESC LIMIT 1";
    let block: Option<i64> =
        sqlx::query_scalar(sql).bind(Seal::Starts.code()).bind(BLOCK).fetch_optional(&mut *db).await?;
    let Some(block) = block else { return Ok(None) };
    Ok(Some((block, read_tokens(db, block, services, own_service).await?)))
}

table_columns! {
    /// A row of `posting`, `number` or `number_range`.
    struct ShardRow<'r> {
        id: i64,
        data: Cow<'r, [u8]>,
    }
}

/// Sorts the tokens of a block and writes its postings. Writes nothing if the block was deleted meanwhile.
pub(crate) async fn seal(db: &mut SqliteConnection, block: i64, tokens: Tokens) -> Result<(), sqlx::Error> {
    static POSTINGS: LazyLock<BulkStatement> =
        LazyLock::new(|| BulkStatement::new::<ShardRow<'_>>("REPLACE INTO posting", ""));
    static NUMBERS: LazyLock<BulkStatement> =
        LazyLock::new(|| BulkStatement::new::<ShardRow<'_>>("REPLACE INTO number", ""));
    static RANGES: LazyLock<BulkStatement> =
        LazyLock::new(|| BulkStatement::new::<ShardRow<'_>>("REPLACE INTO number_range", ""));
    let Tokens { mut values, mut numbers, starts } = tokens;
    let sealed = sqlx::query("UPDATE block SET sealed = ?2, starts = ?3 WHERE id = ?1")
        .bind(block)
        .bind(Seal::Starts.code())
        .bind(encode_starts(&starts))
        .execute(&mut *db)
        .await?;
    if sealed.rows_affected() == 0 {
        return Ok(());
    }
    values.sort_unstable();
    values.dedup();
    let shards: Vec<(i64, Vec<u8>)> = values
        .chunk_by(|left, right| shard(left >> 16) == shard(right >> 16))
        .map(|tokens| (row_id(block, shard(tokens[0] >> 16)), encode_shard(tokens)))
        .collect();
    numbers.sort_unstable_by(|left, right| left.0.cmp(&right.0).then(left.1.total_cmp(&right.1)));
    let mut keys: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
    let mut ranges: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
    for key in numbers.chunk_by(|left, right| left.0 == right.0) {
        let row = row_id(block, number_shard(key[0].0));
        encode_numbers(key, keys.entry(row).or_default());
        encode_range(key, ranges.entry(row).or_default());
    }
    let (keys, ranges) = (keys.into_iter().collect(), ranges.into_iter().collect());
    for (statement, rows) in [(&POSTINGS, shards), (&NUMBERS, keys), (&RANGES, ranges)] {
        let rows = rows.into_iter().map(|(id, data)| ShardRow { id, data: data.into() });
        statement.execute(&mut *db, rows).await?;
    }
    Ok(())
}
