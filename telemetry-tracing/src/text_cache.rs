//! Keeps short texts that come often, such as a model, a provider or a route, so that they need no copy.

use std::cell::RefCell;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::FixedState;
use telemetry_core::Text;

/// Longer texts are always copied, because they rarely come again.
const MAX_BYTES: usize = 48;
/// Texts that the process keeps until it ends: 48 KiB at most.
const MAX_KEPT: usize = 1_024;
/// A text is kept once it has come this often in a row for its slot.
const OFTEN: u32 = 16;
/// Slots per thread.
const SLOTS: usize = 128;

static KEPT: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone, Copy)]
struct Slot {
    kept: &'static str,
    /// Hash of the latest text of this slot.
    last: u64,
    /// How often that text came in a row.
    times: u32,
}

thread_local! {
    static CACHE: RefCell<[Slot; SLOTS]> =
        const { RefCell::new([Slot { kept: "", last: 0, times: 0 }; SLOTS]) };
}

/// Returns the text, without a copy if it comes often.
pub(crate) fn text(value: &str) -> Text {
    if value.is_empty() {
        return Text::Borrowed("");
    }
    if value.len() <= MAX_BYTES
        && let Ok(Some(kept)) = CACHE.try_with(|cache| find(&mut cache.borrow_mut(), value))
    {
        return Text::Borrowed(kept);
    }
    Text::Owned(value.to_owned())
}

fn find(slots: &mut [Slot; SLOTS], value: &str) -> Option<&'static str> {
    let hash = FixedState::default().hash_one(value);
    let slot = &mut slots[usize::from(hash.to_le_bytes()[0]) % SLOTS];
    if slot.kept == value {
        return Some(slot.kept);
    }
    if slot.last != hash {
        (slot.last, slot.times) = (hash, 1);
        return None;
    }
    slot.times += 1;
    if slot.times >= OFTEN && KEPT.fetch_add(1, Ordering::Relaxed) < MAX_KEPT {
        slot.kept = Box::leak(Box::from(value));
        return Some(slot.kept);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_comes_often_is_kept() {
        for _ in 1..OFTEN {
            assert!(matches!(text("llama"), Text::Owned(_)));
        }
        assert!(matches!(text("llama"), Text::Borrowed("llama")));
    }

    #[test]
    fn long_or_rare_texts_are_copied() {
        let long = "x".repeat(MAX_BYTES + 1);
        for _ in 0..2 * OFTEN {
            assert!(matches!(text(&long), Text::Owned(_)));
        }
        for number in 0..10_000 {
            assert_eq!(text(&format!("session {number}")), format!("session {number}"));
        }
        assert!(KEPT.load(Ordering::Relaxed) < 100, "rare texts are not kept");
    }
}
