//! Reads postings: which spans of some blocks may hold what filters ask for.

use std::collections::HashMap;

use sqlx::{Row as _, SqliteConnection};
use telemetry_core::SpanId;

use super::open::OpenBlocks;
use super::probe::{Probe, in_shard};
use super::seal::{SHARD_BITS, Seal, shard};
use super::slots::Slots;
use super::token::span_id_hash;
use super::{BLOCK, PORTIONS};
use crate::rows::span_id_bits;
use crate::statement::json_list;

/// A block of finished spans.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) id: i64,
    /// The latest start of its spans.
    pub(crate) newest: i64,
    pub(crate) seal: Seal,
}

/// What is known of a block's spans without reading them.
pub(crate) struct Narrowed {
    pub(crate) block: Block,
    /// Those that may pass all filters.
    pub(crate) slots: Slots,
    /// The latest start of each portion, where that is known.
    pub(crate) starts: Option<Vec<i64>>,
}

/// Narrows blocks down to the spans that may pass all filters; leaves those out that have none.
pub(crate) async fn narrow(
    db: &mut SqliteConnection,
    open: &OpenBlocks,
    blocks: &[Block],
    probes: &[Probe],
) -> Result<Vec<Narrowed>, sqlx::Error> {
    let mut narrowed = Vec::with_capacity(blocks.len());
    let mut stored: Vec<Block> = Vec::new();
    for block in blocks {
        match block.seal {
            Seal::Values | Seal::Starts => stored.push(*block),
            Seal::None => match open.narrow(*block, probes) {
                Some(found) => narrowed.push(found),
                None => stored.push(Block { seal: seal_of(db, block.id).await?, ..*block }),
            },
        }
    }
    let mut slots: HashMap<i64, Slots> = stored.iter().map(|block| (block.id, Slots::all())).collect();
    for probe in probes {
        let able: Vec<i64> = stored
            .iter()
            .filter(|block| block.seal >= probe.since && slots.contains_key(&block.id))
            .map(|block| block.id)
            .collect();
        let mut found = ask(db, &able, probe).await?;
        for block in able {
            match (slots.get_mut(&block), found.remove(&block)) {
                (Some(slots), Some(found)) => slots.intersect(&found),
                (_, None) => drop(slots.remove(&block)),
                (None, Some(_)) => {}
            }
        }
        slots.retain(|_, slots| !slots.is_empty());
    }
    stored.retain(|block| slots.contains_key(&block.id));
    let mut starts = starts_of(db, &stored).await?;
    narrowed.extend(stored.into_iter().filter_map(|block| {
        Some(Narrowed { block, slots: slots.remove(&block.id)?, starts: starts.remove(&block.id) })
    }));
    narrowed.retain(|narrowed| !narrowed.slots.is_empty());
    Ok(narrowed)
}

/// What a block's postings hold now: it may have been sealed since it was listed.
async fn seal_of(db: &mut SqliteConnection, block: i64) -> Result<Seal, sqlx::Error> {
    let seal =
        sqlx::query_scalar("SELECT sealed FROM block WHERE id = ?").bind(block).fetch_optional(db).await?;
    Ok(seal.map_or(Seal::None, Seal::from_code))
}

/// The spans of blocks that a probe finds.
async fn ask(
    db: &mut SqliteConnection,
    blocks: &[i64],
    probe: &Probe,
) -> Result<HashMap<i64, Slots>, sqlx::Error> {
    let mut found: HashMap<i64, Slots> = HashMap::new();
    if blocks.is_empty() {
        return Ok(found);
    }
    let blocks = json_list(blocks.iter().copied());
    for hash in &probe.values {
        let sql =
            "SELECT j.value, p.data FROM json_each(?1) j CROSS JOIN posting p ON p.id = (j.value << 7 | ?2)";
        let shard = i64::try_from(shard(*hash)).unwrap_or(0);
        for row in sqlx::query(sql).bind(&blocks).bind(shard).fetch_all(&mut *db).await? {
            let slots = found.entry(row.try_get_unchecked(0)?).or_insert_with(Slots::none);
            in_shard(row.try_get_unchecked(1)?, *hash, slots);
        }
    }
    for key in &probe.keys {
        let shard = i64::try_from(key >> (64 - SHARD_BITS)).unwrap_or(0);
        let asked = json_list(in_range(&mut *db, &blocks, shard, probe, *key).await?);
        let sql = "SELECT j.value, n.data FROM json_each(?1) j \
                   CROSS JOIN number n ON n.id = (j.value << 7 | ?2)";
        for row in sqlx::query(sql).bind(asked).bind(shard).fetch_all(&mut *db).await? {
            let slots = found.entry(row.try_get_unchecked(0)?).or_insert_with(Slots::none);
            probe.in_numbers(row.try_get_unchecked(1)?, *key, slots);
        }
    }
    Ok(found)
}

/// Those of some blocks that may have a number beyond the bound; those sealed by an earlier version all may.
async fn in_range(
    db: &mut SqliteConnection,
    blocks: &str,
    shard: i64,
    probe: &Probe,
    key: u64,
) -> Result<Vec<i64>, sqlx::Error> {
    let sql = "SELECT j.value, r.data FROM json_each(?1) j \
               LEFT JOIN number_range r ON r.id = (j.value << 7 | ?2)";
    let mut asked = Vec::new();
    for row in sqlx::query(sql).bind(blocks).bind(shard).fetch_all(db).await? {
        let range: Option<&[u8]> = row.try_get_unchecked(1)?;
        if range.is_none_or(|range| probe.may_be_in(range, key)) {
            asked.push(row.try_get_unchecked(0)?);
        }
    }
    Ok(asked)
}

/// The latest starts of the portions of blocks, where they are known.
async fn starts_of(
    db: &mut SqliteConnection,
    blocks: &[Block],
) -> Result<HashMap<i64, Vec<i64>>, sqlx::Error> {
    if blocks.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = "SELECT b.id, b.starts FROM json_each(?) j CROSS JOIN block b ON b.id = j.value \
               WHERE b.starts IS NOT NULL";
    let list = json_list(blocks.iter().map(|block| block.id));
    let rows = sqlx::query(sql).bind(list).fetch_all(db).await?;
    let mut starts = HashMap::with_capacity(rows.len());
    for row in &rows {
        let data: &[u8] = row.try_get_unchecked(1)?;
        let of_portions: Vec<i64> =
            data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
        if of_portions.len() == PORTIONS {
            starts.insert(row.try_get_unchecked(0)?, of_portions);
        }
    }
    Ok(starts)
}

/// The numbers of the finished spans that may have this id.
pub(crate) async fn rows_of(
    db: &mut SqliteConnection,
    open: &OpenBlocks,
    span: SpanId,
) -> Result<Vec<i64>, sqlx::Error> {
    let hash = span_id_hash(span);
    let mut found = Vec::new();
    let sql = "SELECT id FROM block WHERE NOT sealed";
    for block in sqlx::query_scalar(sql).fetch_all(&mut *db).await? {
        match open.with_value(block, hash) {
            Some(slots) => found.extend(slots.ids(block).map(|(_, id)| id)),
            None => {
                // The plus keeps SQLite from making an index of the whole table for this one question.
                let sql = "SELECT id FROM span_row WHERE id BETWEEN ?1 AND ?2 AND +span_id = ?3";
                let first = block * BLOCK;
                let ids: Vec<i64> = sqlx::query_scalar(sql)
                    .bind(first)
                    .bind(first + BLOCK - 1)
                    .bind(span_id_bits(span))
                    .fetch_all(&mut *db)
                    .await?;
                found.extend(ids);
            }
        }
    }
    // Afterwards: a block that was sealed meanwhile is found here as well.
    let shards = sqlx::query(
        "SELECT b.id, p.data FROM block b CROSS JOIN posting p ON p.id = (b.id << 7 | ?1) WHERE b.sealed",
    )
    .bind(i64::try_from(shard(hash)).unwrap_or(0))
    .fetch_all(&mut *db)
    .await?;
    for row in &shards {
        let block: i64 = row.try_get_unchecked(0)?;
        let mut slots = Slots::none();
        in_shard(row.try_get_unchecked(1)?, hash, &mut slots);
        found.extend(slots.ids(block).map(|(_, id)| id));
    }
    Ok(found)
}
