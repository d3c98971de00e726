//! Span guards: three kinds of plain events, so that starts and logs are live and survive a crash.

use std::sync::Arc;

use telemetry_core::{
    Attributes, Event, EventContext, MetricValue, Severity, SpanKey, SpanKind, SpanStatus, Text, Ttl, Value,
};

use crate::clock::{Epoch, Moment};
use crate::lane::{Gate, Hold};
use crate::record::Record;
use crate::{Entered, SpanContext, SpanHandle, TraceParent, enter, ids};

/// A span that ends when this is dropped.
///
/// Its start is logged at once, its logs and metrics as they come, its end when it is dropped: with
/// status ok, unless [`SpanGuard::fail`] was called or the thread panics. A guard whose start was
/// refused stays silent, so overload makes no orphan halves.
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
    /// None when no sink wants anything.
    gate: Hold,
    context: SpanContext,
    epoch: Epoch,
    /// Whether the start was accepted and the end is still to come.
    live: bool,
    status: SpanStatus,
    panicking: bool,
    attributes: Vec<(Text, Value)>,
}

impl SpanGuard {
    pub(crate) fn start(
        gate: Option<&Arc<Gate>>,
        name: Text,
        kind: SpanKind,
        parent: Option<SpanContext>,
        attributes: Attributes,
    ) -> Self {
        let above = parent.as_ref().map(SpanContext::key);
        let trace_id = above.map_or_else(ids::random_trace_id, |above| above.trace_id);
        let key = SpanKey::new(trace_id, ids::random_span_id());
        let context = parent.map_or_else(|| SpanContext::from(key), |parent| parent.of_child(key));
        let moment = Moment::now();
        let gate = gate.map_or(Hold::NONE, Hold::on);
        let live = gate.gate().is_some_and(|gate| {
            let bytes = name.len() + attributes.payload_bytes();
            gate.offer(bytes, move || Record::Start {
                trace_id,
                span_id: key.span_id,
                parent_span_id: above.map(|above| above.span_id),
                moment,
                name,
                kind,
                attributes,
                ttl: Ttl::default(),
            })
        });
        let panicking = std::thread::panicking();
        Self {
            gate,
            context,
            epoch: moment.epoch,
            live,
            status: SpanStatus::Ok,
            panicking,
            attributes: Vec::new(),
        }
    }

    /// The way to the engine, if the start was accepted.
    fn live_gate(&self) -> Option<&Gate> {
        self.gate.gate().filter(|_| self.live).map(|gate| &**gate)
    }

    /// Trace and span id.
    pub const fn key(&self) -> SpanKey {
        self.context.key()
    }

    /// What to give to other tasks and threads, so that their spans are below this one.
    pub fn context(&self) -> SpanContext {
        self.context.clone()
    }

    /// This span for code that does not own the guard.
    pub fn handle(&self) -> SpanHandle {
        SpanHandle::new(self.gate.gate().filter(|_| self.live).cloned(), Some(self.context()))
    }

    /// The W3C `traceparent` for a request to another process. Its flag says whether the trace is
    /// sampled.
    pub fn traceparent(&self) -> String {
        let sampled = self.gate.gate().is_none_or(|gate| gate.sampling.keeps(self.key().trace_id));
        TraceParent { parent: self.key(), sampled }.to_string()
    }

    /// The W3C `tracestate` that goes with it: that of the caller whose trace this span or one above it
    /// continues. One that is not W3C's form is not handed on.
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
        Self::start(self.gate.gate(), name.into(), SpanKind::Internal, parent, attributes)
    }

    /// Logs a line in this span.
    pub fn log(&self, severity: Severity, message: impl Into<Text>) {
        self.log_with(severity, message, Attributes::default());
    }

    /// Logs a line with attributes in this span.
    pub fn log_with(&self, severity: Severity, message: impl Into<Text>, attributes: Attributes) {
        if let Some(gate) = self.live_gate() {
            let message = message.into();
            let bytes = message.len() + attributes.payload_bytes();
            gate.offer(bytes, move || Record::Log {
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

    /// Logs a measurement in this span; `labels` tell its series.
    pub fn metric(
        &self,
        metric: impl Into<Text>,
        value: impl Into<MetricValue>,
        unit: impl Into<Text>,
        labels: Attributes,
    ) {
        if let Some(gate) = self.live_gate() {
            let moment = self.epoch.moment();
            let event = Event::metric(metric, value, unit)
                .in_context(EventContext::Span(self.key()))
                .at(moment.timestamp())
                .with_attributes(labels);
            let record = Record::from_event(event, Ttl::default(), moment.tick);
            gate.offer(record.payload_bytes(), move || record);
        }
    }

    /// Sets an attribute that the end will carry; it wins over the start's.
    pub fn set_attribute(&mut self, key: impl Into<Text>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        match self.attributes.iter_mut().find(|(name, _)| *name == key) {
            Some(slot) => slot.1 = value,
            None => self.attributes.push((key, value)),
        }
    }

    /// The span will end as failed.
    pub fn fail(&mut self) {
        self.status = SpanStatus::Error;
    }

    /// The span will end as failed, with the error's text in the attribute `error`.
    pub fn record_error(&mut self, error: &dyn std::fmt::Display) {
        self.fail();
        self.set_attribute("error", error.to_string());
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
        let Some(gate) = self.live_gate() else { return };
        let panicked = std::thread::panicking() && !self.panicking;
        let (SpanKey { trace_id, span_id }, moment) = (self.key(), self.epoch.moment());
        let status = if panicked { SpanStatus::Error } else { self.status };
        let bytes = attributes.payload_bytes();
        gate.offer(bytes, move || Record::End {
            trace_id,
            span_id,
            moment,
            status,
            attributes,
            ttl: Ttl::default(),
        });
    }
}
