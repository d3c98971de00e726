//! A set of spans of one block.

use super::seal::WORDS;
use super::{BLOCK, PORTION};

/// A set of spans of one block, by their place in it.
#[derive(Clone)]
pub(crate) struct Slots(Box<[u64; WORDS]>);

impl Slots {
    pub(super) fn none() -> Self {
        Self(Box::new([0; WORDS]))
    }

    /// Every place of a block.
    pub(crate) fn all() -> Self {
        let mut all = Self::none();
        (0..BLOCK).for_each(|slot| all.insert(super::slot_of(slot)));
        all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn insert(&mut self, slot: u16) {
        self.0[usize::from(slot) / 64 % WORDS] |= 1 << (slot % 64);
    }

    /// Adds a stored bitmap.
    pub(super) fn insert_bitmap(&mut self, bitmap: &[u8]) {
        for (word, bytes) in self.0.iter_mut().zip(bitmap.as_chunks::<8>().0) {
            *word |= u64::from_le_bytes(*bytes);
        }
    }

    pub(super) fn intersect(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(word, other)| *word &= other);
    }

    /// The numbers of the spans, those of block `block`, with their portion.
    pub(crate) fn ids(&self, block: i64) -> impl Iterator<Item = (usize, i64)> {
        let words = self.0.iter().enumerate().filter(|(_, word)| **word != 0);
        let slots = words.flat_map(|(place, word)| {
            let bits = (0..64).filter(move |bit| word & (1 << bit) != 0);
            bits.map(move |bit| i64::try_from(place * 64 + bit).unwrap_or(0))
        });
        slots.map(move |slot| (usize::try_from(slot / PORTION).unwrap_or(0), block * BLOCK + slot))
    }
}
