//! Finds the telemetry span of a `tracing` span.

use telemetry_core::SpanKey;
use tracing::{Dispatch, Span};
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan as _;

use crate::layer::Traced;

/// Returns facts about the telemetry span of a `tracing` span. The subscriber must be based on [`Registry`], as nearly
/// all are.
///
/// ```
/// use telemetry_tracing::SpanExt as _;
///
/// // No subscriber is installed here.
/// assert_eq!(tracing::info_span!("chat").key(), None);
/// ```
pub trait SpanExt {
    /// Returns the trace id and the span id, or `None` if the span is disabled or no [`layer`](crate::layer()) records it.
    fn key(&self) -> Option<SpanKey>;

    /// Returns the W3C `traceparent` for a request to another process, or `None` as for [`SpanExt::key`].
    fn traceparent(&self) -> Option<String>;

    /// Returns the W3C `tracestate` for the same request: that of the caller whose trace this span continues.
    fn tracestate(&self) -> Option<String>;
}

impl SpanExt for Span {
    fn key(&self) -> Option<SpanKey> {
        traced(self, |traced| traced.guard.key())
    }

    fn traceparent(&self) -> Option<String> {
        traced(self, |traced| traced.guard.traceparent())
    }

    fn tracestate(&self) -> Option<String> {
        traced(self, |traced| traced.guard.tracestate().map(str::to_owned)).flatten()
    }
}

/// Reads the telemetry span of a `tracing` span, if it has one.
fn traced<T>(span: &Span, read: impl FnOnce(&Traced) -> T) -> Option<T> {
    let found = span.with_subscriber(|(id, dispatch): (&tracing::span::Id, &Dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        let extensions = span.extensions();
        extensions.get::<Traced>().map(read)
    });
    found.flatten()
}
