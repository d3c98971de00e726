//! Traces that a `traceparent` moves: their later events still carry the id they were submitted under.

use std::collections::HashMap;

use telemetry_core::{EventContext, Span, SpanKey, TraceId, Value};

use super::Assembler;
use crate::TraceParent;

/// Submitted trace id → remote trace id, kept while a span of the trace is open.
#[derive(Debug, Default)]
pub(super) struct Aliases(HashMap<TraceId, Alias, foldhash::fast::RandomState>);

#[derive(Debug)]
struct Alias {
    remote: TraceId,
    open_spans: usize,
}

impl Aliases {
    /// Counts an open span of a moved trace.
    pub(super) fn add(&mut self, span: &Span) {
        if let Some(submitted) = span.submitted_trace_id {
            let alias = self.0.entry(submitted).or_insert(Alias { remote: span.trace_id, open_spans: 0 });
            alias.open_spans += 1;
        }
    }

    /// Forgets a span that is open no more, and the alias with the last of them.
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

    pub(super) fn follow_key(&self, key: SpanKey) -> SpanKey {
        SpanKey::new(self.remote(key.trace_id), key.span_id)
    }

    pub(super) fn follow(&self, context: EventContext) -> EventContext {
        match context {
            EventContext::None => EventContext::None,
            EventContext::Trace(trace) => EventContext::Trace(self.remote(trace)),
            EventContext::Span(key) => EventContext::Span(self.follow_key(key)),
        }
    }
}

/// Attributes that only mark a root; a local root has its own field.
const ROOT_MARKS: [&str; 2] = ["__root__", "__root_span__"];

impl Assembler {
    /// Moves a span with a `traceparent` attribute to the trace that names.
    pub(super) fn continue_remote_trace(&mut self, span: &mut Span, submitted: TraceId) {
        let Some(header) = span.attributes.get("traceparent").and_then(Value::as_str) else { return };
        let Ok(TraceParent { parent, .. }) = header.parse() else {
            self.counts.invalid_traceparent += 1;
            return;
        };
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
    }
}
