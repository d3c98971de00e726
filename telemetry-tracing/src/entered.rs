//! Which spans of which layer this thread has entered.

use std::cell::RefCell;

use telemetry_core::SpanKey;
use telemetry_pipeline::{Entered, SpanContext, enter};
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
pub(crate) fn push(layer: usize, id: &Id, span: SpanContext) {
    let _ = STACK.try_with(|stack| {
        let entry = Entry { layer, id: id.into_u64(), key: span.key(), _entered: enter(span) };
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
    Ours(Id, SpanContext),
    /// A span entered by other means, or none.
    Other(Option<SpanContext>),
}

/// The span that code on this thread is in.
pub(crate) fn place(layer: usize) -> Place {
    let Some(current) = SpanContext::current() else { return Place::Other(None) };
    let ours = STACK.try_with(|stack| {
        let stack = stack.borrow();
        let latest = stack.last().filter(|entry| entry.layer == layer && entry.key == current.key())?;
        Some(Id::from_u64(latest.id))
    });
    match ours {
        Ok(Some(id)) => Place::Ours(id, current),
        Ok(None) | Err(_) => Place::Other(Some(current)),
    }
}
