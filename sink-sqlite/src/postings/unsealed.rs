//! The blocks whose postings are not on disk yet.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use futures_util::TryStreamExt as _;
use sqlx::SqliteConnection;
use telemetry_core::{Span, SpanState, TraceId};

use super::block::{BLOCK, Block, Candidates, SlotSet, slot_of};
use super::condition::Condition;
use super::tokens::Tokens;
use crate::rows::{Services, SpanColumns, read_row, select_list};

/// The tokens of the block that is being filled, and of full blocks until their postings are committed.
///
/// The writer shares them with this program's readers. As long as a block is here, so is everything that is committed
/// of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnsealedBlocks(Arc<Mutex<BTreeMap<i64, Tokens>>>);

impl UnsealedBlocks {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, Tokens>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the block that is being filled again from the file, after a start or a failed transaction.
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

    /// Adds spans of one block. Returns the block before it if the spans are the first of a new block: the block
    /// before is full now.
    pub(super) fn add(&self, own_service: &str, first: i64, spans: &[(i64, &Span)]) -> Option<(i64, Tokens)> {
        let mut blocks = self.lock();
        let block = first / BLOCK;
        let is_new = !blocks.contains_key(&block);
        let full =
            blocks.iter().next_back().filter(|_| is_new).map(|(block, tokens)| (*block, tokens.clone()));
        let tokens = blocks.entry(block).or_default();
        for (id, (_, span)) in (first..).zip(spans) {
            tokens.add(span, own_service, slot_of(id));
        }
        full
    }

    /// Removes the full blocks: their postings are committed, so that queries find them on disk.
    pub(crate) fn remove_sealed(&self) {
        let mut blocks = self.lock();
        if blocks.len() > 1
            && let Some(last) = blocks.pop_last()
        {
            *blocks = BTreeMap::from([last]);
        }
    }

    /// Returns the spans of a block which all conditions may match, if the block is here.
    pub(super) fn candidates(&self, block: Block, conditions: &[Condition]) -> Option<Candidates> {
        let blocks = self.lock();
        let tokens = blocks.get(&block.id)?;
        let mut slots = SlotSet::all();
        for condition in conditions {
            let mut found = SlotSet::empty();
            condition.find_in_tokens(tokens, &mut found);
            slots.intersect(&found);
        }
        Some(Candidates { block, slots, starts: Some(tokens.starts.to_vec()) })
    }

    /// Returns the spans of a block that have a hash, if the block is here.
    pub(super) fn find(&self, block: i64, hash: u64) -> Option<SlotSet> {
        let blocks = self.lock();
        let mut slots = SlotSet::empty();
        blocks.get(&block)?.find(hash, &mut slots);
        Some(slots)
    }
}

/// The trace id of spans of which only the tokens matter: no token depends on it.
const ANY_TRACE: TraceId = TraceId::from_u128(1).expect("1 is not zero");

/// Reads the tokens of the spans of a block.
pub(super) async fn read_tokens(
    db: &mut SqliteConnection,
    block: i64,
    services: &Services,
    own_service: &str,
) -> Result<Tokens, sqlx::Error> {
    static SPANS: LazyLock<String> = LazyLock::new(|| {
        let columns = select_list::<SpanColumns<'_>>("s");
        format!("SELECT s.id, {columns} FROM span_row s WHERE s.id BETWEEN ?1 AND ?2")
    });
    let mut tokens = Tokens::default();
    // One by one: together, their attributes may take many megabytes.
    let first = block * BLOCK;
    let mut rows = sqlx::query(SPANS.as_str()).bind(first).bind(first + BLOCK - 1).fetch(db);
    while let Some(row) = rows.try_next().await? {
        let (id, columns): (i64, SpanColumns<'_>) = read_row(&row)?;
        let span = columns.into_span(ANY_TRACE, SpanState::Ended, services)?;
        tokens.add(&span, own_service, slot_of(id));
    }
    Ok(tokens)
}
