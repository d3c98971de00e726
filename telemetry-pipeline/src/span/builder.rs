//! Spans with more settings than a name and attributes.

use std::sync::Arc;

use telemetry_core::{Attributes, SpanKind, Text, Value};

use super::context::SpanContext;
use super::guard::SpanGuard;
use crate::queue::Queue;
use crate::traceparent::{TraceParent, is_trace_state};

/// A span that is about to start. [`Telemetry::span_builder`](crate::Telemetry::span_builder) makes it.
///
/// ```
/// use telemetry_core::{SpanKind, attrs};
/// use telemetry_pipeline::Telemetry;
///
/// # let telemetry = Telemetry::disabled();
/// let request = telemetry.span_builder("POST /chat", attrs! {}).with_kind(SpanKind::Server).start();
/// let call = telemetry
///     .span_builder("POST llama", attrs! { "server.address" => "gpu-1" })
///     .with_kind(SpanKind::Client)
///     .with_parent(request.context())
///     .start();
/// assert_eq!(call.key().trace_id, request.key().trace_id);
/// ```
#[derive(Debug)]
#[must_use = "the span starts with `start`"]
pub struct SpanBuilder<'a> {
    queue: Option<&'a Arc<Queue>>,
    name: Text,
    kind: SpanKind,
    parent: Parent,
    attributes: Attributes,
}

#[derive(Debug)]
enum Parent {
    Current,
    None,
    Span(SpanContext),
    Remote(TraceParent),
}

impl<'a> SpanBuilder<'a> {
    pub(crate) const fn new(queue: Option<&'a Arc<Queue>>, name: Text, attributes: Attributes) -> Self {
        Self { queue, name, kind: SpanKind::Internal, parent: Parent::Current, attributes }
    }

    /// Sets the span's role in a remote call. Default: internal.
    pub const fn with_kind(mut self, kind: SpanKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the parent, which may be in another task or thread. Default: the current span.
    pub fn with_parent(mut self, parent: impl Into<SpanContext>) -> Self {
        self.parent = Parent::Span(parent.into());
        self
    }

    /// Sets a span of another process as the parent (W3C Trace Context). An attribute `tracestate` is the
    /// caller's header of that name.
    pub fn with_remote_parent(mut self, parent: TraceParent) -> Self {
        self.parent = Parent::Remote(parent);
        self
    }

    /// Makes the span the root of a new trace, whatever the current span is.
    pub fn as_root(mut self) -> Self {
        self.parent = Parent::None;
        self
    }

    /// Starts the span.
    pub fn start(self) -> SpanGuard {
        let Self { queue, name, kind, parent, mut attributes } = self;
        let parent = match parent {
            Parent::Current => SpanContext::current(),
            Parent::None => None,
            Parent::Span(context) => Some(context),
            Parent::Remote(remote) => {
                let state = attributes.get("tracestate").and_then(Value::as_str);
                let state = state.filter(|text| is_trace_state(text)).map(Arc::from);
                let header = (Text::Borrowed("traceparent"), remote.to_string().into());
                attributes = attributes.into_iter().chain([header]).collect();
                Some(SpanContext::new(remote.parent, state))
            }
        };
        SpanGuard::start(queue, name, kind, parent, attributes)
    }
}
