//! What a span hands down.

use std::sync::Arc;

use telemetry_core::SpanKey;

/// What a span hands down to those below it, on other threads and in other tasks: its ids, and the
/// `tracestate` of the trace that it continues.
///
/// A [`SpanKey`] becomes one, without a `tracestate`.
///
/// ```
/// use telemetry_core::attrs;
/// use telemetry_pipeline::{SpanContext, Telemetry};
///
/// # let telemetry = Telemetry::disabled();
/// let remote = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse()?;
/// let request = telemetry.continue_trace(remote, "POST /chat", attrs! { "tracestate" => "vendor=1" });
/// let _entered = request.enter();
/// let current = SpanContext::current().expect("a span was entered");
/// assert_eq!((current.key(), current.tracestate()), (request.key(), Some("vendor=1")));
/// # Ok::<(), telemetry_pipeline::TraceParentError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanContext {
    key: SpanKey,
    trace_state: Option<Arc<str>>,
}

impl SpanContext {
    pub(crate) const fn new(key: SpanKey, trace_state: Option<Arc<str>>) -> Self {
        Self { key, trace_state }
    }

    /// Trace and span id.
    pub const fn key(&self) -> SpanKey {
        self.key
    }

    /// The W3C `tracestate` for requests to other processes: that of the caller whose trace the span, or
    /// one above it, continues. One that is not W3C's form is not handed on.
    pub fn tracestate(&self) -> Option<&str> {
        self.trace_state.as_deref()
    }

    /// The same for a span below.
    pub(crate) fn of_child(self, key: SpanKey) -> Self {
        Self { key, ..self }
    }
}

impl From<SpanKey> for SpanContext {
    fn from(key: SpanKey) -> Self {
        Self::new(key, None)
    }
}
