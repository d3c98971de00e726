//! Captures what this thread logs through `tracing`, to search it for secrets.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Metadata, Subscriber};

/// Captures everything that this thread logs while the value exists.
pub(super) struct LogCapture {
    text: Text,
    _guard: DefaultGuard,
}

impl LogCapture {
    /// Starts to capture.
    pub(super) fn start() -> Self {
        let text = Text::default();
        let guard = tracing::subscriber::set_default(Recorder(text.clone()));
        Self { text, _guard: guard }
    }

    /// Returns the fields of everything logged so far.
    pub(super) fn text(&self) -> String {
        self.text.lock().clone()
    }
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<String>>);

impl Text {
    fn lock(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string can't fail.
        let _ = writeln!(self.lock(), "{field}={value:?}");
    }
}

/// Records the fields of every span and event, at every level.
struct Recorder(Text);

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.0.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.0.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.0.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
