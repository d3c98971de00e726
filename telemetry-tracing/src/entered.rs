//! Which spans of which layer this thread has entered.

use std::cell::RefCell;

use telemetry_core::SpanKey;
use telemetry_pipeline::{Entered, current_span, enter};
use tracing::span::Id;

struct Entry {
    layer: usize,
    id: u64,
    key: SpanKey,
    _entered: Entered,
}

thread_local! {
    static STACK: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// Makes the span the current one of this thread. A thread that is ending has none.
pub(crate) fn push(layer: usize, id: &Id, key: SpanKey) {
    let _ = STACK.try_with(|stack| {
        let entry = Entry { layer, id: id.into_u64(), key, _entered: enter(key) };
        stack.borrow_mut().push(entry);
    });
}

/// Undoes the latest [`push`] of this span, wherever in the order of spans it is.
pub(crate) fn pop(layer: usize, id: &Id) {
    let _ = STACK.try_with(|stack| {
        let mut stack = stack.borrow_mut();
        if let Some(place) = stack.iter().rposition(|entry| entry.layer == layer && entry.id == id.into_u64())
        {
            stack.remove(place);
        }
    });
}

/// What this thread's code is in.
pub(crate) enum Place {
    /// A span of this layer.
    Ours(Id, SpanKey),
    /// A span entered by other means, or none.
    Other(Option<SpanKey>),
}

/// The span that code on this thread is in.
pub(crate) fn place(layer: usize) -> Place {
    let current = current_span();
    let ours = STACK.try_with(|stack| {
        let stack = stack.borrow();
        let latest = stack.last().filter(|entry| entry.layer == layer && Some(entry.key) == current)?;
        Some((Id::from_u64(latest.id), latest.key))
    });
    match ours {
        Ok(Some((id, key))) => Place::Ours(id, key),
        Ok(None) | Err(_) => Place::Other(current),
    }
}
