//! The attribute index: which spans of a block may have a value.
//!
//! Finished spans are numbered. 8,192 numbers are a block. While a block fills, the tokens of its spans (a hash per
//! key and value) are collected in memory, where queries of this program find them. When it is full, its tokens are
//! sorted and written, inside the transaction that fills it: split by hash into 128 shards. This seals the block. A
//! query reads one shard per block and condition, and checks the rows that it finds there: the index may name too
//! many spans, never too few.

mod block;
mod condition;
mod encoding;
mod lookup;
mod tokens;
mod unsealed;
mod write;

pub(crate) use block::{BLOCK, Block, Candidates, Seal};
pub(crate) use condition::Condition;
pub(crate) use lookup::{candidates, rows_of_span};
pub(crate) use tokens::Tokens;
pub(crate) use unsealed::UnsealedBlocks;
pub(crate) use write::{add_spans, next_to_seal, seal};
