//! Blocks of finished spans, and sets of the spans of one block.

/// Numbers of finished spans per block.
pub(crate) const BLOCK: i64 = 8_192;
/// Spans of a block whose latest start is stored.
const PORTION: i64 = 256;
/// Portions of a block.
pub(super) const PORTIONS: usize = 32;
/// Words of 64 bits of a stored bitmap. It has room for twice as many spans as a block has: the size is part of the
/// file format, from a time of larger blocks.
pub(super) const WORDS: usize = 256;

/// A block of finished spans.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) id: i64,
    /// The latest start of its spans.
    pub(crate) newest: i64,
    pub(crate) seal: Seal,
}

/// What the postings of a block contain: `block.sealed`. Later values contain what earlier ones do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seal {
    /// Nothing yet.
    None,
    /// Attributes, and the built-in keys `name`, `kind`, `status` and `span_id`.
    Values,
    /// Also `service_name` and `duration_ms`, and the latest start of each portion.
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

/// The spans of a block that may match, known without reading them.
pub(crate) struct Candidates {
    pub(crate) block: Block,
    pub(crate) slots: SlotSet,
    /// The latest start of each portion, where it is stored.
    pub(crate) starts: Option<Vec<i64>>,
}

/// Returns the slot of a finished span: its place within its block.
pub(super) fn slot_of(id: i64) -> u16 {
    u16::try_from(id.rem_euclid(BLOCK)).unwrap_or(0)
}

/// Returns the portion that a slot is in.
pub(super) fn portion_of(slot: u16) -> usize {
    usize::try_from(i64::from(slot) / PORTION).unwrap_or(0) % PORTIONS
}

/// A set of spans of one block, by their slots.
#[derive(Clone)]
pub(crate) struct SlotSet(Box<[u64; WORDS]>);

impl SlotSet {
    pub(super) fn empty() -> Self {
        Self(Box::new([0; WORDS]))
    }

    /// Returns all slots of a block.
    pub(super) fn all() -> Self {
        let mut all = Self::empty();
        (0..BLOCK).for_each(|id| all.insert(slot_of(id)));
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn insert(&mut self, slot: u16) {
        self.0[usize::from(slot) / 64 % WORDS] |= 1 << (slot % 64);
    }

    /// Adds the slots of a stored bitmap.
    pub(super) fn insert_bitmap(&mut self, bitmap: &[u8]) {
        for (word, bytes) in self.0.iter_mut().zip(bitmap.as_chunks::<8>().0) {
            *word |= u64::from_le_bytes(*bytes);
        }
    }

    pub(super) fn intersect(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(word, other)| *word &= other);
    }

    /// Returns the numbers of the spans, which are in block `block`, each with its portion.
    pub(crate) fn ids(&self, block: i64) -> impl Iterator<Item = (usize, i64)> {
        let words = self.0.iter().enumerate().filter(|(_, word)| **word != 0);
        let slots = words.flat_map(|(index, word)| {
            let bits = (0..64).filter(move |bit| word & (1 << bit) != 0);
            bits.map(move |bit| u16::try_from(index * 64 + bit).unwrap_or(0))
        });
        slots.map(move |slot| (portion_of(slot), block * BLOCK + i64::from(slot)))
    }
}
