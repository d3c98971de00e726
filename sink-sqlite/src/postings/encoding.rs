//! How postings are stored.
//!
//! A shard of `posting` is the number of dense groups (u16), the fingerprint (u16) and the bitmap (2,048 bytes) of each
//! dense group, then the sparse entries, `fingerprint << 16 | slot` (u32), sorted. A row of `number` is a sequence of
//! keys: the hash of the key (u64), a count (u32), that many numbers (f32) in ascending order, and their slots (u16).
//! The same row of `number_range` is a sequence of the hash of a key (u64), its least and its largest number (f32). All
//! of these are little-endian.

use super::block::{SlotSet, WORDS};

/// Hashes are split into shards by this many of their highest bits.
const SHARD_BITS: u32 = 7;
/// A group of at least this many spans is stored as a bitmap.
const DENSE: usize = 512;

/// Returns the shard of a 48-bit hash.
pub(super) const fn shard(hash: u64) -> u64 {
    hash >> (48 - SHARD_BITS)
}

/// Returns the shard of the 64-bit hash of a key that has numbers.
pub(super) const fn number_shard(key: u64) -> u64 {
    key >> (64 - SHARD_BITS)
}

/// Returns the 16 bits that distinguish the hashes of one shard.
fn fingerprint(hash: u64) -> u16 {
    u16::try_from((hash >> (48 - SHARD_BITS - 16)) & 0xffff).unwrap_or(0)
}

/// Returns the id of the row of a shard.
pub(super) fn row_id(block: i64, shard: u64) -> i64 {
    (block << SHARD_BITS) | i64::try_from(shard).unwrap_or(0)
}

/// Encodes the tokens of a shard, which are sorted, as a row of `posting`.
pub(super) fn encode_shard(tokens: &[u64]) -> Vec<u8> {
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

/// Adds the spans that a row of `posting` has for a hash.
pub(super) fn find_in_shard(data: &[u8], hash: u64, slots: &mut SlotSet) {
    const GROUP: usize = 2 + WORDS * 8;
    let wanted = fingerprint(hash);
    let Some((groups, rest)) = data.split_first_chunk::<2>() else { return };
    let dense_bytes = (usize::from(u16::from_le_bytes(*groups)) * GROUP).min(rest.len());
    let (dense, sparse) = rest.split_at(dense_bytes);
    for group in dense.chunks_exact(GROUP) {
        if group[..2] == wanted.to_le_bytes() {
            slots.insert_bitmap(&group[2..]);
            return;
        }
    }
    let entries = sparse.as_chunks::<4>().0;
    let fingerprint_of = |entry: &[u8; 4]| u16::from_le_bytes([entry[2], entry[3]]);
    let first = entries.partition_point(|entry| fingerprint_of(entry) < wanted);
    for entry in entries[first..].iter().take_while(|entry| fingerprint_of(entry) == wanted) {
        slots.insert(u16::from_le_bytes([entry[0], entry[1]]));
    }
}

/// Adds the numbers of one key, which are sorted, to a row of `number`.
pub(super) fn encode_numbers(numbers: &[(u64, f32, u16)], data: &mut Vec<u8>) {
    data.extend(numbers[0].0.to_le_bytes());
    data.extend(u32::try_from(numbers.len()).unwrap_or(u32::MAX).to_le_bytes());
    data.extend(numbers.iter().flat_map(|(_, number, _)| number.to_le_bytes()));
    data.extend(numbers.iter().flat_map(|(_, _, slot)| slot.to_le_bytes()));
}

/// Calls `found` with each number and slot that a row of `number` has for a key.
pub(super) fn each_number(mut data: &[u8], wanted: u64, mut found: impl FnMut(f32, u16)) {
    while let Some((head, after)) = data.split_first_chunk::<12>() {
        let mut hash = [0; 8];
        hash.copy_from_slice(&head[..8]);
        let count = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        if after.len() < count * 6 {
            return;
        }
        let (numbers, after) = after.split_at(count * 4);
        let (slots, after) = after.split_at(count * 2);
        data = after;
        if u64::from_le_bytes(hash) == wanted {
            for (number, slot) in numbers.as_chunks::<4>().0.iter().zip(slots.as_chunks::<2>().0) {
                found(f32::from_le_bytes(*number), u16::from_le_bytes(*slot));
            }
        }
    }
}

/// Adds the range of the numbers of one key, which are sorted, to a row of `number_range`.
pub(super) fn encode_range(numbers: &[(u64, f32, u16)], data: &mut Vec<u8>) {
    let (least, largest) = (numbers[0].1, numbers[numbers.len() - 1].1);
    data.extend(numbers[0].0.to_le_bytes());
    data.extend([least, largest].iter().flat_map(|number| number.to_le_bytes()));
}

/// Returns the least and largest numbers that a row of `number_range` has for a key.
pub(super) fn ranges_of(data: &[u8], wanted: u64) -> impl Iterator<Item = (f32, f32)> {
    data.as_chunks::<16>().0.iter().filter_map(move |[a, b, c, d, e, f, g, h, least @ .., i, j, k, l]| {
        let is_wanted = u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) == wanted;
        is_wanted.then(|| (f32::from_le_bytes(*least), f32::from_le_bytes([*i, *j, *k, *l])))
    })
}

/// Encodes the latest starts of the portions of a block.
pub(super) fn encode_starts(starts: &[i64]) -> Vec<u8> {
    starts.iter().flat_map(|start| start.to_le_bytes()).collect()
}

/// Decodes the latest starts of the portions of a block.
pub(super) fn decode_starts(data: &[u8]) -> Vec<i64> {
    data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
}
