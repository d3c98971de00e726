//! Reads postings: which spans of a block may hold what filters ask for.

use sqlx::{Row as _, SqliteConnection};
use telemetry_core::SpanId;
use telemetry_core::query::{Filter, FilterOp};

use super::BLOCK;
use super::seal::{SHARD_BITS, WORDS, fingerprint, row_id, shard};
use super::token::{Source, hash, key_hash, number, rounded, span_id_hash};
use crate::rows::span_id_bits;

/// A set of spans of one block.
struct Slots(Box<[u64; WORDS]>);

impl Slots {
    fn none() -> Self {
        Self(Box::new([0; WORDS]))
    }

    fn insert(&mut self, slot: u16) {
        self.0[usize::from(slot) / 64 % WORDS] |= 1 << (slot % 64);
    }

    fn intersect(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(word, other)| *word &= other);
    }

    fn iter(&self) -> impl Iterator<Item = i64> {
        (0..BLOCK).filter(|slot| {
            let slot = usize::try_from(*slot).unwrap_or(0);
            self.0[slot / 64] & (1 << (slot % 64)) != 0
        })
    }
}

/// The numbers of the spans of a sealed block that may pass all filters; `None` if the index narrows
/// none of them.
pub(crate) async fn candidates(
    db: &mut SqliteConnection,
    block: i64,
    filters: &[Filter],
) -> Result<Option<Vec<i64>>, sqlx::Error> {
    let mut found: Option<Slots> = None;
    for filter in filters {
        let Some(slots) = slots_of(db, block, filter).await? else { continue };
        match &mut found {
            Some(found) => found.intersect(&slots),
            None => found = Some(slots),
        }
    }
    Ok(found.map(|slots| slots.iter().map(|slot| block * BLOCK + slot).collect()))
}

async fn slots_of(
    db: &mut SqliteConnection,
    block: i64,
    filter: &Filter,
) -> Result<Option<Slots>, sqlx::Error> {
    let Filter { key, op, value } = filter;
    match (op, key.as_str()) {
        // Not indexed where the span has no attribute of that name.
        (_, "service_name" | "duration_ms" | "trace_id") | (FilterOp::Ne, _) => Ok(None),
        (FilterOp::Eq, _) => {
            let mut slots = Slots::none();
            let mut hashes = vec![hash(Source::Attribute, key, value)];
            match key.as_str() {
                "name" | "kind" | "status" => hashes.push(hash(Source::BuiltIn, key, value)),
                "span_id" => hashes.extend(value.as_str().and_then(|id| id.parse().ok()).map(span_id_hash)),
                _ => {}
            }
            for hash in hashes {
                if let Some(data) = shard_data(db, block, hash).await? {
                    add_shard(&data, hash, &mut slots);
                }
            }
            Ok(Some(slots))
        }
        // Built-in keys are texts: they have no order with a number, and texts are not sorted.
        (FilterOp::Gt | FilterOp::Lt, _) => match number(value) {
            Some(bound) => numbers_beyond(db, block, key, *op, bound).await.map(Some),
            None => Ok(None),
        },
    }
}

async fn shard_data(
    db: &mut SqliteConnection,
    block: i64,
    hash: u64,
) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar("SELECT data FROM posting WHERE id = ?")
        .bind(row_id(block, shard(hash)))
        .fetch_optional(db)
        .await
}

/// Adds the slots that a shard has for a hash.
fn add_shard(data: &[u8], hash: u64, slots: &mut Slots) {
    const GROUP: usize = 2 + WORDS * 8;
    let wanted = fingerprint(hash);
    let Some((groups, rest)) = data.split_first_chunk::<2>() else { return };
    let dense_bytes = (usize::from(u16::from_le_bytes(*groups)) * GROUP).min(rest.len());
    let (dense, sparse) = rest.split_at(dense_bytes);
    for group in dense.chunks_exact(GROUP) {
        if group[..2] == wanted.to_le_bytes() {
            for (word, bytes) in slots.0.iter_mut().zip(group[2..].as_chunks::<8>().0) {
                *word |= u64::from_le_bytes(*bytes);
            }
            return;
        }
    }
    let entries = sparse.as_chunks::<4>().0;
    let print_of = |entry: &[u8; 4]| u16::from_le_bytes([entry[2], entry[3]]);
    let first = entries.partition_point(|entry| print_of(entry) < wanted);
    for entry in entries[first..].iter().take_while(|entry| print_of(entry) == wanted) {
        slots.insert(u16::from_le_bytes([entry[0], entry[1]]));
    }
}

/// The spans whose number under a key lies beyond a bound, or so near that rounding hides it.
async fn numbers_beyond(
    db: &mut SqliteConnection,
    block: i64,
    key: &str,
    op: FilterOp,
    bound: f64,
) -> Result<Slots, sqlx::Error> {
    let wanted = key_hash(key);
    let data: Option<Vec<u8>> = sqlx::query_scalar("SELECT data FROM number WHERE id = ?")
        .bind(row_id(block, wanted >> (64 - SHARD_BITS)))
        .fetch_optional(db)
        .await?;
    let mut slots = Slots::none();
    let mut rest = data.as_deref().unwrap_or_default();
    let bound = rounded(bound);
    while let Some((head, after)) = rest.split_first_chunk::<12>() {
        let mut hash = [0; 8];
        hash.copy_from_slice(&head[..8]);
        let count = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        if after.len() < count * 6 {
            break;
        }
        let (numbers, after) = after.split_at(count * 4);
        let (places, after) = after.split_at(count * 2);
        rest = after;
        if u64::from_le_bytes(hash) != wanted {
            continue;
        }
        for (number, place) in numbers.as_chunks::<4>().0.iter().zip(places.as_chunks::<2>().0) {
            let number = f32::from_le_bytes(*number);
            let is_beyond = match op {
                FilterOp::Gt => number >= bound,
                FilterOp::Lt => number <= bound,
                FilterOp::Eq | FilterOp::Ne => true,
            };
            if is_beyond {
                slots.insert(u16::from_le_bytes(*place));
            }
        }
    }
    Ok(slots)
}

/// The numbers of the finished spans that may have this id.
pub(crate) async fn rows_of(db: &mut SqliteConnection, span: SpanId) -> Result<Vec<i64>, sqlx::Error> {
    let hash = span_id_hash(span);
    let shards = sqlx::query(
        "SELECT b.id, p.data FROM block b CROSS JOIN posting p ON p.id = (b.id << 7 | ?1) WHERE b.sealed",
    )
    .bind(i64::try_from(shard(hash)).unwrap_or(0))
    .fetch_all(&mut *db)
    .await?;
    let mut found = Vec::new();
    for row in &shards {
        let block: i64 = row.try_get_unchecked(0)?;
        let mut slots = Slots::none();
        add_shard(row.try_get_unchecked(1)?, hash, &mut slots);
        found.extend(slots.iter().map(|slot| block * BLOCK + slot));
    }
    // The plus keeps SQLite from making an index of the whole table for this one question.
    let unsealed: Vec<i64> = sqlx::query_scalar(
        "SELECT s.id FROM block b CROSS JOIN span_row s ON s.id BETWEEN b.id * ?1 AND b.id * ?1 + ?1 - 1 \
         WHERE NOT b.sealed AND +s.span_id = ?2",
    )
    .bind(BLOCK)
    .bind(span_id_bits(span))
    .fetch_all(db)
    .await?;
    found.extend(unsealed);
    Ok(found)
}
