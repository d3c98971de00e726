//! Span guards. A span is three kinds of events: start, log, end. So its start and its logs are visible while
//! it is open, and survive a crash.

use std::sync::Arc;

use telemetry_core::{
    Attributes, Event, EventContext, MetricValue, Severity, SpanKey, SpanKind, SpanStatus, Text, Ttl, Value,
};

use super::context::{Entered, SpanContext, enter};
use crate::ids;
use crate::queue::{Epoch, Moment, Queue, QueueRef, Record, attributes_bytes, text_bytes};
use crate::traceparent::TraceParent;

/// A span that ends when this is dropped.
///
/// The guard logs the span's start at once, its logs and metrics as they come, and its end when it is
/// dropped. The status is ok, unless [`SpanGuard::fail`] was called or the thread panics. If the queue
/// refuses the start, the guard logs nothing more, so overload leaves no ends without a start.
///
/// ```
/// use telemetry_core::{Severity, attrs};
/// use telemetry_pipeline::Telemetry;
///
/// # let telemetry = Telemetry::disabled();
/// let mut span = telemetry.span("inference", attrs! { "model_id" => "llama" });
/// span.log(Severity::Info, "prompt received");
/// span.metric("prompt_tokens", 42, "tokens", attrs! { "model_id" => "llama" });
/// span.set_attribute("cached", true);
/// let child = span.child("tool call", attrs! {});
/// assert_eq!(child.key().trace_id, span.key().trace_id);
/// ```
#[derive(Debug)]
#[must_use = "a span ends when its guard is dropped"]
pub struct SpanGuard {
    /// `None` inside if no sink wants anything.
    queue: QueueRef,
    context: SpanContext,
    epoch: Epoch,
    /// True if the start was accepted.
    accepted: bool,
    status: SpanStatus,
    /// When the span ended, if that was before the guard is dropped.
    end: Option<Moment>,
    /// True if the thread was panicking when the span started.
    panicking: bool,
    attributes: Vec<(Text, Value)>,
}

impl SpanGuard {
    pub(crate) fn start(
        queue: Option<&Arc<Queue>>,
        name: Text,
        kind: SpanKind,
        parent: Option<SpanContext>,
        attributes: Attributes,
    ) -> Self {
        let parent_key = parent.as_ref().map(SpanContext::key);
        let trace_id = parent_key.map_or_else(ids::random_trace_id, |parent| parent.trace_id);
        let key = SpanKey::new(trace_id, ids::random_span_id());
        let context = parent.map_or_else(|| SpanContext::from(key), |parent| parent.of_child(key));
        let moment = Moment::now();
        let queue = QueueRef::new(queue);
        let accepted = queue.get().is_some_and(|queue| {
            let bytes = text_bytes(&name) + attributes_bytes(&attributes);
            queue.offer(bytes, move || Record::Start {
                trace_id,
                span_id: key.span_id,
                parent_span_id: parent_key.map(|parent| parent.span_id),
                moment,
                name,
                kind,
                attributes,
                ttl: Ttl::default(),
            })
        });
        let panicking = std::thread::panicking();
        Self {
            queue,
            context,
            epoch: moment.epoch,
            accepted,
            status: SpanStatus::Ok,
            end: None,
            panicking,
            attributes: Vec::new(),
        }
    }

    /// Returns the queue, if the start was accepted.
    pub(super) fn queue(&self) -> Option<&Arc<Queue>> {
        self.queue.get().filter(|_| self.accepted)
    }

    /// Returns the trace and span id.
    pub const fn key(&self) -> SpanKey {
        self.context.key()
    }

    /// Returns the context to pass to other tasks and threads, so that their spans are below this one.
    pub fn context(&self) -> SpanContext {
        self.context.clone()
    }

    /// Returns the W3C `traceparent` for a request to another process. Its flag is set if the trace is
    /// sampled.
    pub fn traceparent(&self) -> String {
        let sampled = self.queue.get().is_none_or(|queue| queue.sampling.keeps(self.key().trace_id));
        TraceParent { parent: self.key(), sampled }.to_string()
    }

    /// Returns the W3C `tracestate` for the same request, as [`SpanContext::tracestate`] does.
    pub fn tracestate(&self) -> Option<&str> {
        self.context.tracestate()
    }

    /// Makes this the current span of the thread until the returned guard is dropped.
    pub fn enter(&self) -> Entered {
        enter(self.context())
    }

    /// Starts a span below this one.
    pub fn child(&self, name: impl Into<Text>, attributes: Attributes) -> Self {
        let parent = Some(self.context());
        Self::start(self.queue.get(), name.into(), SpanKind::Internal, parent, attributes)
    }

    /// Logs a line in this span.
    pub fn log(&self, severity: Severity, message: impl Into<Text>) {
        self.log_with(severity, message, Attributes::default());
    }

    /// Logs a line with attributes in this span.
    pub fn log_with(&self, severity: Severity, message: impl Into<Text>, attributes: Attributes) {
        if let Some(queue) = self.queue() {
            let message = message.into();
            let bytes = text_bytes(&message) + attributes_bytes(&attributes);
            queue.offer(bytes, move || Record::Log {
                trace_id: Some(self.key().trace_id),
                span_id: Some(self.key().span_id),
                moment: self.epoch.moment(),
                message,
                severity,
                attributes,
                ttl: Ttl::default(),
            });
        }
    }

    /// Logs a metric point in this span. Its name, unit and `labels` identify its series.
    pub fn metric(
        &self,
        metric: impl Into<Text>,
        value: impl Into<MetricValue>,
        unit: impl Into<Text>,
        labels: Attributes,
    ) {
        if let Some(queue) = self.queue() {
            let moment = self.epoch.moment();
            let event = Event::metric(metric, value, unit)
                .in_context(EventContext::Span(self.key()))
                .at(moment.timestamp())
                .with_attributes(labels);
            let record = Record::from_event(event, Ttl::default(), moment.tick);
            queue.offer(record.retained_bytes(), move || record);
        }
    }

    /// Sets an attribute on the end. It replaces the start's attribute of the same key.
    pub fn set_attribute(&mut self, key: impl Into<Text>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        match self.attributes.iter_mut().find(|(name, _)| *name == key) {
            Some(slot) => slot.1 = value,
            None => self.attributes.push((key, value)),
        }
    }

    /// Makes the span end as failed.
    pub fn fail(&mut self) {
        self.status = SpanStatus::Error;
    }

    /// Makes the span end as failed, with the error's text in the attribute `error`.
    pub fn record_error(&mut self, error: &dyn std::fmt::Display) {
        self.fail();
        self.set_attribute("error", error.to_string());
    }

    /// Notes that the work of the span ends now, as far as is known. When the guard is dropped, the span ends at the time of
    /// the latest call. Use it where something else keeps the guard alive longer than the work takes.
    ///
    /// ```
    /// # let telemetry = telemetry_pipeline::Telemetry::disabled();
    /// let mut span = telemetry.span("request", telemetry_core::attrs! {});
    /// span.mark_end();
    /// let answer_is_sent_meanwhile = true;
    /// drop(span); // ended before
    /// # assert!(answer_is_sent_meanwhile);
    /// ```
    pub fn mark_end(&mut self) {
        if self.accepted {
            self.end = Some(self.epoch.moment());
        }
    }

    /// Ends the span now, as dropping it does.
    pub fn end(self) {
        drop(self);
    }
}

impl Drop for SpanGuard {
    fn drop(&mut self) {
        let attributes = if self.attributes.is_empty() {
            Attributes::default()
        } else {
            std::mem::take(&mut self.attributes).into()
        };
        let Some(queue) = self.queue() else { return };
        let panicked = std::thread::panicking() && !self.panicking;
        let moment = self.end.unwrap_or_else(|| self.epoch.moment());
        let SpanKey { trace_id, span_id } = self.key();
        let status = if panicked { SpanStatus::Error } else { self.status };
        let bytes = attributes_bytes(&attributes);
        queue.offer_end(bytes, move || Record::End {
            trace_id,
            span_id,
            moment,
            status,
            attributes,
            ttl: Ttl::default(),
        });
    }
}
