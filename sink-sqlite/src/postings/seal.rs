//! Writes the postings of a full block, and the latest starts of its portions.
//!
//! A shard of `posting` is: the number of dense groups (u16), each group's fingerprint (u16) and
//! bitmap (2,048 bytes), then the sparse entries, `fingerprint << 16 | slot` (u32), sorted. A row of
//! `number` is a sequence of keys: hash (u64), count (u32), numbers (f32) in order, their slots (u16); the same row of
//! `number_range` is a sequence of hash (u64), least and largest number (f32).
//! All little-endian.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sqlx::SqliteConnection;

use super::token::Tokens;
use crate::statement::ManyRows;

/// Hashes are split by this many of their top bits.
pub(super) const SHARD_BITS: u32 = 7;
/// Words of a bitmap of a block.
pub(super) const WORDS: usize = 256;
/// A group held by this many spans or more is a bitmap.
const DENSE: usize = 512;

/// The shard of a 48-bit hash.
pub(super) const fn shard(hash: u64) -> u64 {
    hash >> (48 - SHARD_BITS)
}

/// What tells hashes of one shard apart: 16 bits.
pub(super) fn fingerprint(hash: u64) -> u16 {
    u16::try_from((hash >> (48 - SHARD_BITS - 16)) & 0xffff).unwrap_or(0)
}

/// The number of a shard's row.
pub(super) fn row_id(block: i64, shard: u64) -> i64 {
    (block << SHARD_BITS) | i64::try_from(shard).unwrap_or(0)
}

/// What the postings of a block hold: `block.sealed`. Later ones hold what earlier ones do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seal {
    /// Nothing yet.
    None,
    /// Attributes, and of the built-in keys `name`, `kind`, `status` and `span_id`.
    Values,
    /// `service_name` and `duration_ms` too, and the block has the starts of its portions.
    Starts,
}

impl Seal {
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Values => 1,
            Self::Starts => 2,
        }
    }

    pub(crate) const fn from_code(code: i64) -> Self {
        match code {
            ..=0 => Self::None,
            1 => Self::Values,
            2.. => Self::Starts,
        }
    }
}

/// Sorts the tokens and writes them. Nothing is written where the block is gone meanwhile.
pub(crate) async fn seal(db: &mut SqliteConnection, block: i64, tokens: Tokens) -> Result<(), sqlx::Error> {
    static POSTINGS: LazyLock<ManyRows> =
        LazyLock::new(|| ManyRows::new("REPLACE INTO posting (id, data) VALUES", 2, ""));
    static NUMBERS: LazyLock<ManyRows> =
        LazyLock::new(|| ManyRows::new("REPLACE INTO number (id, data) VALUES", 2, ""));
    static RANGES: LazyLock<ManyRows> =
        LazyLock::new(|| ManyRows::new("REPLACE INTO number_range (id, data) VALUES", 2, ""));
    let Tokens { mut values, mut numbers, starts } = tokens;
    let starts: Vec<u8> = starts.iter().flat_map(|start| start.to_le_bytes()).collect();
    let sealed = sqlx::query("UPDATE block SET sealed = ?2, starts = ?3 WHERE id = ?1")
        .bind(block)
        .bind(Seal::Starts.code())
        .bind(starts)
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
        let row = row_id(block, key[0].0 >> (64 - SHARD_BITS));
        encode_key(key, keys.entry(row).or_default());
        encode_range(key, ranges.entry(row).or_default());
    }
    let (keys, ranges) = (keys.into_iter().collect(), ranges.into_iter().collect());
    for (statement, rows) in [(&POSTINGS, shards), (&NUMBERS, keys), (&RANGES, ranges)] {
        statement
            .execute(&mut *db, rows.into_iter(), |values, (id, data)| {
                values.add(id);
                values.add(data);
            })
            .await?;
    }
    Ok(())
}

fn encode_shard(tokens: &[u64]) -> Vec<u8> {
    let mut dense = Vec::new();
    let mut sparse = Vec::new();
    let mut groups: u16 = 0;
    for group in tokens.chunk_by(|left, right| fingerprint(left >> 16) == fingerprint(right >> 16)) {
        let fingerprint = fingerprint(group[0] >> 16);
        let slots = group.iter().map(|token| (token & 0xffff) as usize);
        if group.len() >= DENSE {
            let mut bitmap = [0_u64; WORDS];
            slots.for_each(|slot| bitmap[slot / 64 % WORDS] |= 1 << (slot % 64));
            groups += 1;
            dense.extend(fingerprint.to_le_bytes());
            dense.extend(bitmap.iter().flat_map(|word| word.to_le_bytes()));
        } else {
            sparse.extend(slots.map(|slot| u32::from(fingerprint) << 16 | u32::try_from(slot).unwrap_or(0)));
        }
    }
    let mut data = Vec::with_capacity(2 + dense.len() + 4 * sparse.len());
    data.extend(groups.to_le_bytes());
    data.extend(dense);
    data.extend(sparse.iter().flat_map(|entry| entry.to_le_bytes()));
    data
}

fn encode_key(numbers: &[(u64, f32, u16)], data: &mut Vec<u8>) {
    data.extend(numbers[0].0.to_le_bytes());
    data.extend(u32::try_from(numbers.len()).unwrap_or(u32::MAX).to_le_bytes());
    data.extend(numbers.iter().flat_map(|(_, number, _)| number.to_le_bytes()));
    data.extend(numbers.iter().flat_map(|(_, _, slot)| slot.to_le_bytes()));
}

fn encode_range(numbers: &[(u64, f32, u16)], data: &mut Vec<u8>) {
    let (least, largest) = (numbers[0].1, numbers[numbers.len() - 1].1);
    data.extend(numbers[0].0.to_le_bytes());
    data.extend([least, largest].iter().flat_map(|number| number.to_le_bytes()));
}
