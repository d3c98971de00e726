//! Spans with more to say than a name and attributes.

use std::sync::Arc;

use telemetry_core::{Attributes, SpanKind, Text, Value};

use crate::lane::Gate;
use crate::traceparent::is_trace_state;
use crate::{SpanContext, SpanGuard, TraceParent};

/// A span that is about to start; made by [`Telemetry::span_builder`](crate::Telemetry::span_builder).
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
    gate: Option<&'a Arc<Gate>>,
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
    pub(crate) const fn new(gate: Option<&'a Arc<Gate>>, name: Text, attributes: Attributes) -> Self {
        Self { gate, name, kind: SpanKind::Internal, parent: Parent::Current, attributes }
    }

    /// Says which role in a remote call the span has. Default: internal.
    pub const fn with_kind(mut self, kind: SpanKind) -> Self {
        self.kind = kind;
        self
    }

    /// Starts it below `parent`, which may be in another task or thread. Default: below the current span.
    pub fn with_parent(mut self, parent: impl Into<SpanContext>) -> Self {
        self.parent = Parent::Span(parent.into());
        self
    }

    /// Starts it below a span of another process (W3C Trace Context). An attribute `tracestate` is the
    /// caller's header of that name.
    pub fn with_remote_parent(mut self, parent: TraceParent) -> Self {
        self.parent = Parent::Remote(parent);
        self
    }

    /// Starts it as the root of a new trace, whatever the current span is.
    pub fn as_root(mut self) -> Self {
        self.parent = Parent::None;
        self
    }

    /// Starts the span.
    pub fn start(self) -> SpanGuard {
        let Self { gate, name, kind, parent, mut attributes } = self;
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
        SpanGuard::start(gate, name, kind, parent, attributes)
    }
}
