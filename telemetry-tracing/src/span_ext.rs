//! From `tracing`'s spans to ours.

use telemetry_core::SpanKey;
use tracing::{Dispatch, Span};
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan as _;

use crate::layer::Traced;

/// What a `tracing` span is in telemetry. For subscribers built upon
/// [`Registry`], as nearly all are.
///
/// ```
/// use telemetry_tracing::SpanExt as _;
///
/// // Nothing is installed here, so there is nothing to find.
/// assert_eq!(tracing::info_span!("chat").key(), None);
/// ```
pub trait SpanExt {
    /// Trace and span id; `None` if the span is disabled or no layer of ours sees it.
    fn key(&self) -> Option<SpanKey>;

    /// The W3C `traceparent` for a request to another process; `None` as for [`SpanExt::key`].
    fn traceparent(&self) -> Option<String>;

    /// The W3C `tracestate` that goes with it: that of the caller whose trace this span or one above it
    /// continues.
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

fn traced<T>(span: &Span, what: impl FnOnce(&Traced) -> T) -> Option<T> {
    let found = span.with_subscriber(|(id, dispatch): (&tracing::span::Id, &Dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        let extensions = span.extensions();
        extensions.get::<Traced>().map(what)
    });
    found.flatten()
}
