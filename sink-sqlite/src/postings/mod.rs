//! The attribute index: which of a block's spans may hold a value.
//!
//! Finished spans are numbered; 8,192 numbers are a block. While a block fills, the tokens of its
//! spans (a hash per key and value) are collected in memory, where queries of this program find them;
//! when it is full they are sorted and written, split by hash into 128 shards, inside the transaction
//! that fills it. A query asks one shard per block and condition, and rechecks the rows it is pointed
//! at: the index may name too many spans, never too few.

mod lookup;
mod open;
mod probe;
mod seal;
mod slots;
mod token;

pub(crate) use lookup::{Block, Narrowed, narrow, rows_of};
pub(crate) use open::{OpenBlocks, add, next_to_seal};
pub(crate) use probe::Probe;
pub(crate) use seal::{Seal, seal};
pub(crate) use token::Tokens;

/// Numbers of finished spans per block.
pub(crate) const BLOCK: i64 = 8_192;
/// Spans of a block of whose starts the latest is known.
pub(crate) const PORTION: i64 = 256;
/// Portions of a block.
const PORTIONS: usize = 32;

/// The place of a span within its block.
fn slot_of(id: i64) -> u16 {
    u16::try_from(id.rem_euclid(BLOCK)).unwrap_or(0)
}
