//! Short texts that come again and again (a model, a provider, a route) are kept, not copied.

use std::cell::RefCell;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::FixedState;
use telemetry_core::Text;

/// Longer texts are copied: they rarely come again.
const MAX_BYTES: usize = 48;
/// Texts kept by the whole process, for ever: 48 KiB at most.
const MAX_KEPT: usize = 1_024;
/// A text is kept once it has come so often with no other in its place.
const OFTEN: u32 = 16;
/// Places per thread.
const PLACES: usize = 128;

static KEPT: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone, Copy)]
struct Place {
    kept: &'static str,
    /// Hash of the text that came last, and how often in a row.
    last: u64,
    times: u32,
}

thread_local! {
    static PLACES_OF_THREAD: RefCell<[Place; PLACES]> =
        const { RefCell::new([Place { kept: "", last: 0, times: 0 }; PLACES]) };
}

/// The text, without a copy if it comes often.
pub(crate) fn text(value: &str) -> Text {
    if value.is_empty() {
        return Text::Borrowed("");
    }
    if value.len() <= MAX_BYTES
        && let Ok(Some(kept)) = PLACES_OF_THREAD.try_with(|places| find(&mut places.borrow_mut(), value))
    {
        return Text::Borrowed(kept);
    }
    Text::Owned(value.to_owned())
}

fn find(places: &mut [Place; PLACES], value: &str) -> Option<&'static str> {
    let hash = FixedState::default().hash_one(value);
    let place = &mut places[usize::from(hash.to_le_bytes()[0]) % PLACES];
    if place.kept == value {
        return Some(place.kept);
    }
    if place.last != hash {
        (place.last, place.times) = (hash, 1);
        return None;
    }
    place.times += 1;
    if place.times >= OFTEN && KEPT.fetch_add(1, Ordering::Relaxed) < MAX_KEPT {
        place.kept = Box::leak(Box::from(value));
        return Some(place.kept);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_comes_often_is_copied_no_more() {
        for _ in 1..OFTEN {
            assert!(matches!(text("llama"), Text::Owned(_)));
        }
        assert!(matches!(text("llama"), Text::Borrowed("llama")));
    }

    #[test]
    fn texts_that_are_long_or_rare_are_copied() {
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
