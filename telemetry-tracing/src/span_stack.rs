//! The spans that this thread has entered, with their layers.

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

/// Makes the span the current one of this thread. Does nothing in a thread that is ending.
pub(crate) fn push(layer: usize, id: &Id, span: SpanContext) {
    let _ = STACK.try_with(|stack| {
        let entry = Entry { layer, id: id.into_u64(), key: span.key(), _entered: enter(span) };
        stack.borrow_mut().push(entry);
    });
}

/// Undoes the latest [`push`] of this span, even if other spans were entered after it.
pub(crate) fn pop(layer: usize, id: &Id) {
    let _ = STACK.try_with(|stack| {
        let mut stack = stack.borrow_mut();
        if let Some(index) = stack.iter().rposition(|entry| entry.layer == layer && entry.id == id.into_u64())
        {
            stack.remove(index);
        }
    });
}

/// The current span of a thread, as one layer sees it.
pub(crate) enum CurrentSpan {
    /// A span of this layer.
    OfLayer(Id, SpanContext),
    /// A span that other code has entered, or none.
    Other(Option<SpanContext>),
}

/// Returns the current span of this thread.
pub(crate) fn current(layer: usize) -> CurrentSpan {
    let Some(current) = SpanContext::current() else { return CurrentSpan::Other(None) };
    let of_layer = STACK.try_with(|stack| {
        let stack = stack.borrow();
        let latest = stack.last().filter(|entry| entry.layer == layer && entry.key == current.key())?;
        Some(Id::from_u64(latest.id))
    });
    match of_layer {
        Ok(Some(id)) => CurrentSpan::OfLayer(id, current),
        Ok(None) | Err(_) => CurrentSpan::Other(Some(current)),
    }
}
