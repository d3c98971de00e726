//! Reads the index: which spans of some blocks may match.

use std::collections::HashMap;

use sqlx::SqliteConnection;
use telemetry_core::SpanId;

use super::block::{BLOCK, Block, Candidates, PORTIONS, Seal, SlotSet};
use super::condition::Condition;
use super::encoding::{decode_starts, find_in_shard, number_shard, shard};
use super::tokens::span_id_hash;
use super::unsealed::UnsealedBlocks;
use crate::bulk_statement::json_list;
use crate::rows::{read_row, span_id_bits};

/// Returns the spans of some blocks which all conditions may match. Leaves out blocks that have none.
pub(crate) async fn candidates(
    db: &mut SqliteConnection,
    unsealed: &UnsealedBlocks,
    blocks: &[Block],
    conditions: &[Condition],
) -> Result<Vec<Candidates>, sqlx::Error> {
    let mut candidates = Vec::with_capacity(blocks.len());
    let mut stored: Vec<Block> = Vec::new();
    for block in blocks {
        match block.seal {
            Seal::Values | Seal::Starts => stored.push(*block),
            Seal::None => match unsealed.candidates(*block, conditions) {
                Some(found) => candidates.push(found),
                None => stored.push(Block { seal: seal_of(db, block.id).await?, ..*block }),
            },
        }
    }
    let mut slots: HashMap<i64, SlotSet> = stored.iter().map(|block| (block.id, SlotSet::all())).collect();
    for condition in conditions {
        let able: Vec<i64> = stored
            .iter()
            .filter(|block| block.seal >= condition.needs && slots.contains_key(&block.id))
            .map(|block| block.id)
            .collect();
        let mut found = find(db, &able, condition).await?;
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
    candidates.extend(stored.into_iter().filter_map(|block| {
        Some(Candidates { block, slots: slots.remove(&block.id)?, starts: starts.remove(&block.id) })
    }));
    candidates.retain(|candidates| !candidates.slots.is_empty());
    Ok(candidates)
}

/// Returns what the postings of a block contain now: it may have been sealed since it was listed.
async fn seal_of(db: &mut SqliteConnection, block: i64) -> Result<Seal, sqlx::Error> {
    let seal =
        sqlx::query_scalar("SELECT sealed FROM block WHERE id = ?").bind(block).fetch_optional(db).await?;
    Ok(seal.map_or(Seal::None, Seal::from_code))
}

/// Returns the spans of sealed blocks which a condition may match.
async fn find(
    db: &mut SqliteConnection,
    blocks: &[i64],
    condition: &Condition,
) -> Result<HashMap<i64, SlotSet>, sqlx::Error> {
    let mut found: HashMap<i64, SlotSet> = HashMap::new();
    if blocks.is_empty() {
        return Ok(found);
    }
    let blocks = json_list(blocks.iter().copied());
    for hash in &condition.values {
        let sql =
            "SELECT j.value, p.data FROM json_each(?1) j CROSS JOIN posting p ON p.id = (j.value << 7 | ?2)";
        let shard = i64::try_from(shard(*hash)).unwrap_or(0);
        for row in sqlx::query(sql).bind(&blocks).bind(shard).fetch_all(&mut *db).await? {
            let (block, data): (i64, &[u8]) = read_row(&row)?;
            find_in_shard(data, *hash, found.entry(block).or_insert_with(SlotSet::empty));
        }
    }
    for key in &condition.keys {
        let shard = i64::try_from(number_shard(*key)).unwrap_or(0);
        let in_range = json_list(blocks_in_range(&mut *db, &blocks, shard, condition, *key).await?);
        let sql = "SELECT j.value, n.data FROM json_each(?1) j \
                   CROSS JOIN number n ON n.id = (j.value << 7 | ?2)";
        for row in sqlx::query(sql).bind(in_range).bind(shard).fetch_all(&mut *db).await? {
            let (block, data): (i64, &[u8]) = read_row(&row)?;
            condition.find_in_numbers(data, *key, found.entry(block).or_insert_with(SlotSet::empty));
        }
    }
    Ok(found)
}

/// Returns those of some blocks that may have a number beyond the bound. Blocks that an earlier version sealed have no
/// ranges, so they all may.
async fn blocks_in_range(
    db: &mut SqliteConnection,
    blocks: &str,
    shard: i64,
    condition: &Condition,
    key: u64,
) -> Result<Vec<i64>, sqlx::Error> {
    let sql = "SELECT j.value, r.data FROM json_each(?1) j \
               LEFT JOIN number_range r ON r.id = (j.value << 7 | ?2)";
    let mut in_range = Vec::new();
    for row in sqlx::query(sql).bind(blocks).bind(shard).fetch_all(db).await? {
        let (block, ranges): (i64, Option<&[u8]>) = read_row(&row)?;
        if ranges.is_none_or(|ranges| condition.may_be_in(ranges, key)) {
            in_range.push(block);
        }
    }
    Ok(in_range)
}

/// Returns the latest starts of the portions of blocks, where they are stored.
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
        let (block, data): (i64, &[u8]) = read_row(row)?;
        let of_portions = decode_starts(data);
        if of_portions.len() == PORTIONS {
            starts.insert(block, of_portions);
        }
    }
    Ok(starts)
}

/// Returns the numbers of the finished spans that may have this id.
pub(crate) async fn rows_of_span(
    db: &mut SqliteConnection,
    unsealed: &UnsealedBlocks,
    span: SpanId,
) -> Result<Vec<i64>, sqlx::Error> {
    let hash = span_id_hash(span);
    let mut found = Vec::new();
    let sql = "SELECT id FROM block WHERE NOT sealed";
    for block in sqlx::query_scalar(sql).fetch_all(&mut *db).await? {
        match unsealed.find(block, hash) {
            Some(slots) => found.extend(slots.ids(block).map(|(_, id)| id)),
            None => {
                // The plus keeps SQLite from building an index of the whole table for this one query.
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
    // Last, so that a block that was sealed meanwhile is found here.
    let shards = sqlx::query(
        "SELECT b.id, p.data FROM block b CROSS JOIN posting p ON p.id = (b.id << 7 | ?1) WHERE b.sealed",
    )
    .bind(i64::try_from(shard(hash)).unwrap_or(0))
    .fetch_all(&mut *db)
    .await?;
    for row in &shards {
        let (block, data): (i64, &[u8]) = read_row(row)?;
        let mut slots = SlotSet::empty();
        find_in_shard(data, hash, &mut slots);
        found.extend(slots.ids(block).map(|(_, id)| id));
    }
    Ok(found)
}
