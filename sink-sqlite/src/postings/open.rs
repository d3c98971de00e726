//! The blocks whose postings are not on disk yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::TryStreamExt as _;
use sqlx::{Row as _, SqliteConnection};
use telemetry_core::{Span, SpanState, TraceId};

use super::lookup::{Block, Narrowed};
use super::probe::Probe;
use super::seal::{Seal, seal};
use super::slots::Slots;
use super::token::Tokens;
use super::{BLOCK, slot_of};
use crate::rows::read_span;
use crate::services::Services;

/// What the spans of the block that is being filled hold, and those of full ones until their postings are
/// committed. Shared between the writer and this program's readers: what is committed of a block is in here
/// as long as the block is.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenBlocks(Arc<Mutex<BTreeMap<i64, Tokens>>>);

impl OpenBlocks {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, Tokens>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the block that an earlier run left unfinished, or that a failed transaction spoiled.
    pub(crate) async fn load(
        &self,
        db: &mut SqliteConnection,
        services: &Services,
        own_service: &str,
    ) -> Result<(), sqlx::Error> {
        let next: i64 = sqlx::query_scalar("SELECT next_span FROM meta").fetch_one(&mut *db).await?;
        let block = next / BLOCK;
        let tokens = read_tokens(db, block, services, own_service).await?;
        *self.lock() = BTreeMap::from([(block, tokens)]);
        Ok(())
    }

    /// What was sealed is committed: it is found on disk.
    pub(crate) fn committed(&self) {
        let mut blocks = self.lock();
        if blocks.len() > 1
            && let Some(last) = blocks.pop_last()
        {
            *blocks = BTreeMap::from([last]);
        }
    }

    /// Narrows a block down, if it is here.
    pub(super) fn narrow(&self, block: Block, probes: &[Probe]) -> Option<Narrowed> {
        let blocks = self.lock();
        let tokens = blocks.get(&block.id)?;
        let mut slots = Slots::all();
        for probe in probes {
            let mut found = Slots::none();
            probe.in_tokens(tokens, &mut found);
            slots.intersect(&found);
        }
        Some(Narrowed { block, slots, starts: Some(tokens.starts.to_vec()) })
    }

    /// The spans of a block with a value, if it is here.
    pub(super) fn with_value(&self, block: i64, hash: u64) -> Option<Slots> {
        let blocks = self.lock();
        let tokens = blocks.get(&block)?;
        let mut slots = Slots::none();
        let found = tokens.values.iter().filter(|token| *token >> 16 == hash);
        found.for_each(|token| slots.insert(u16::try_from(token & 0xffff).unwrap_or(0)));
        Some(slots)
    }
}

/// Takes note of finished spans, numbered from `first`; seals the blocks that they fill.
pub(crate) async fn add(
    db: &mut SqliteConnection,
    open: &OpenBlocks,
    own_service: &str,
    first: i64,
    spans: &[(i64, &Span)],
) -> Result<(), sqlx::Error> {
    let mut rest = spans;
    let mut id = first;
    while !rest.is_empty() {
        let block = id / BLOCK;
        let room = usize::try_from(BLOCK - id % BLOCK).unwrap_or(1);
        let (fitting, after) = rest.split_at(room.min(rest.len()));
        let full = note_in_memory(open, own_service, id, fitting);
        for (full, tokens) in full {
            seal(db, full, tokens).await?;
        }
        let newest = fitting.iter().map(|(_, span)| span.start_time.as_nanos()).max().unwrap_or(i64::MIN);
        note(db, block, newest).await?;
        id += i64::try_from(fitting.len()).unwrap_or(i64::MAX);
        rest = after;
    }
    Ok(())
}

/// Adds spans of one block; gives the blocks before it, which are full now.
fn note_in_memory(
    open: &OpenBlocks,
    own_service: &str,
    first: i64,
    spans: &[(i64, &Span)],
) -> Vec<(i64, Tokens)> {
    let mut blocks = open.lock();
    let block = first / BLOCK;
    let is_new = !blocks.contains_key(&block);
    let full = blocks.iter().next_back().filter(|_| is_new).map(|(block, tokens)| (*block, tokens.clone()));
    let tokens = blocks.entry(block).or_default();
    for (id, (_, span)) in (first..).zip(spans) {
        tokens.add(span, own_service, slot_of(id));
    }
    full.into_iter().collect()
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

/// A full block that an earlier version indexed in its own way, or that a stop left unsealed, and what its spans
/// hold: to be sealed.
pub(crate) async fn next_to_seal(
    reads: &mut SqliteConnection,
    services: &Services,
    own_service: &str,
) -> Result<Option<(i64, Tokens)>, sqlx::Error> {
    let sql = "SELECT id FROM block WHERE sealed < ?1 AND id < (SELECT next_span / ?2 FROM meta) ORDER BY id DESC LIMIT 1";
    let block: Option<i64> =
        sqlx::query_scalar(sql).bind(Seal::Starts.code()).bind(BLOCK).fetch_optional(&mut *reads).await?;
    let Some(block) = block else { return Ok(None) };
    Ok(Some((block, read_tokens(reads, block, services, own_service).await?)))
}

/// Which trace a span is in says nothing about what it holds.
const SOME_TRACE: TraceId = TraceId::from_u128(1).expect("1 is not zero");

/// Reads what the spans of a block hold.
async fn read_tokens(
    db: &mut SqliteConnection,
    block: i64,
    services: &Services,
    own_service: &str,
) -> Result<Tokens, sqlx::Error> {
    let mut tokens = Tokens::default();
    // One by one: together their attributes may be many megabytes.
    let mut rows = sqlx::query(
        "SELECT id, span_id, parent, name, kind, service, start_time, end_time, status, attributes, lag, ttl, extra \
         FROM span_row WHERE id BETWEEN ?1 AND ?2",
    )
    .bind(block * BLOCK)
    .bind(block * BLOCK + BLOCK - 1)
    .fetch(db);
    while let Some(row) = rows.try_next().await? {
        let span = read_span(&row, 1, SOME_TRACE, SpanState::Ended, services)?;
        tokens.add(&span, own_service, slot_of(row.try_get_unchecked(0)?));
    }
    Ok(tokens)
}
