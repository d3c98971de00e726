//! Traces that a `traceparent` attribute moves: their later events still carry the id they were submitted
//! under.

use std::collections::HashMap;

use telemetry_core::{EventContext, Span, SpanKey, TraceId, Value};

use crate::traceparent::{TraceParent, TraceParentError};

/// Submitted trace id → remote trace id, kept while a span of the trace is open.
#[derive(Debug, Default)]
pub(super) struct Aliases(HashMap<TraceId, Alias, foldhash::fast::RandomState>);

#[derive(Debug)]
struct Alias {
    remote: TraceId,
    open_spans: usize,
}

impl Aliases {
    /// Counts an open span, if its trace was moved.
    pub(super) fn add(&mut self, span: &Span) {
        if let Some(submitted) = span.submitted_trace_id {
            let alias = self.0.entry(submitted).or_insert(Alias { remote: span.trace_id, open_spans: 0 });
            alias.open_spans += 1;
        }
    }

    /// Removes a span that is no longer open. The last one removes the alias.
    pub(super) fn remove(&mut self, span: &Span) {
        let Some(submitted) = span.submitted_trace_id else { return };
        if let Some(alias) = self.0.get_mut(&submitted) {
            alias.open_spans -= 1;
            if alias.open_spans == 0 {
                self.0.remove(&submitted);
            }
        }
    }

    fn remote(&self, submitted: TraceId) -> TraceId {
        if self.0.is_empty() {
            return submitted;
        }
        self.0.get(&submitted).map_or(submitted, |alias| alias.remote)
    }

    pub(super) fn resolve_key(&self, key: SpanKey) -> SpanKey {
        SpanKey::new(self.remote(key.trace_id), key.span_id)
    }

    pub(super) fn resolve(&self, context: EventContext) -> EventContext {
        match context {
            EventContext::None => EventContext::None,
            EventContext::Trace(trace) => EventContext::Trace(self.remote(trace)),
            EventContext::Span(key) => EventContext::Span(self.resolve_key(key)),
        }
    }
}

/// Attributes that only mark a root. A local root has a field of its own.
const ROOT_MARKS: [&str; 2] = ["__root__", "__root_span__"];

/// Moves a span with a `traceparent` attribute to the remote trace that the attribute names.
pub(super) fn continue_remote_trace(span: &mut Span, submitted: TraceId) -> Result<(), TraceParentError> {
    let Some(header) = span.attributes.get("traceparent").and_then(Value::as_str) else { return Ok(()) };
    let TraceParent { parent, .. } = header.parse()?;
    span.attributes.remove("traceparent");
    span.trace_state = match span.attributes.remove("tracestate") {
        Some(Value::String(state)) => Some(state),
        Some(_) | None => None,
    };
    for mark in ROOT_MARKS {
        span.attributes.remove(mark);
    }
    span.trace_id = parent.trace_id;
    span.parent_span_id = span.parent_span_id.or(Some(parent.span_id));
    span.local_root = true;
    span.submitted_trace_id = (submitted != parent.trace_id).then_some(submitted);
    Ok(())
}
