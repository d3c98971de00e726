//! A span as code sees it that does not own its guard.

use std::sync::Arc;

use telemetry_core::{
    Attributes, Event, EventContext, MetricValue, Payload, Severity, SpanKind, StructuredLog, Text, Ttl,
    Value,
};

use crate::clock::Moment;
use crate::lane::Gate;
use crate::record::Record;
use crate::{SpanContext, SpanGuard};

/// A span as code sees it that does not own its guard: a handler within its request's span, or a task
/// that was given one. Made by [`Telemetry::current`](crate::Telemetry::current) and
/// [`SpanGuard::handle`].
///
/// A cheap clone, usable from any thread. What it sets reaches the span through the queue, at once; what
/// comes after the span's end is refused and counted. Where there is no span, nothing is set, and what
/// is logged belongs to none.
///
/// ```
/// use telemetry_core::{Severity, attrs};
/// use telemetry_pipeline::Telemetry;
///
/// /// Somewhere below; it knows nothing of who has opened the span.
/// fn choose_model(telemetry: &Telemetry) {
///     let span = telemetry.current();
///     span.set_attribute("model_id", "llama");
///     span.log(Severity::Info, "model chosen");
/// }
///
/// # let telemetry = Telemetry::disabled();
/// let request = telemetry.span("request", attrs! {});
/// let _entered = request.enter();
/// assert_eq!(telemetry.current().context(), Some(&request.context()));
/// choose_model(&telemetry);
/// ```
#[derive(Clone, Debug)]
pub struct SpanHandle {
    /// None when no sink wants anything, or the span itself was refused.
    gate: Option<Arc<Gate>>,
    context: Option<SpanContext>,
}

impl SpanHandle {
    pub(crate) const fn new(gate: Option<Arc<Gate>>, context: Option<SpanContext>) -> Self {
        Self { gate, context }
    }

    /// A handle on no span, behind which there is no pipeline.
    pub const fn disabled() -> Self {
        Self::new(None, None)
    }

    /// What the span hands down; `None` where there is no span.
    pub const fn context(&self) -> Option<&SpanContext> {
        self.context.as_ref()
    }

    /// Starts a span below this one; where there is none, the root of a new trace.
    pub fn child(&self, name: impl Into<Text>, attributes: Attributes) -> SpanGuard {
        let parent = self.context.clone();
        SpanGuard::start(self.gate.as_ref(), name.into(), SpanKind::Internal, parent, attributes)
    }

    /// Logs a line in this span.
    pub fn log(&self, severity: Severity, message: impl Into<Text>) {
        self.log_with(severity, message, Attributes::default());
    }

    /// Logs a line with attributes in this span.
    pub fn log_with(&self, severity: Severity, message: impl Into<Text>, attributes: Attributes) {
        if self.gate.is_some() {
            self.offer(Event::log(severity, message).with_attributes(attributes));
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
        if self.gate.is_some() {
            self.offer(Event::metric(metric, value, unit).with_attributes(labels));
        }
    }

    /// Sets an attribute; it wins over the start's. What the span's own guard sets wins over it.
    pub fn set_attribute(&self, key: impl Into<Text>, value: impl Into<Value>) {
        self.update(false, || Attributes::from([(key.into(), value.into())]));
    }

    /// Sets several attributes at once.
    pub fn set_attributes(&self, attributes: Attributes) {
        self.update(false, || attributes);
    }

    /// The span will end as failed, whatever its guard says.
    pub fn fail(&self) {
        self.update(true, Attributes::default);
    }

    /// The span will end as failed, with the error's text in the attribute `error`.
    pub fn record_error(&self, error: &dyn std::fmt::Display) {
        self.update(true, || Attributes::from([("error".into(), error.to_string().into())]));
    }

    fn update(&self, failed: bool, attributes: impl FnOnce() -> Attributes) {
        if let (Some(_), Some(context)) = (&self.gate, &self.context) {
            let key = context.key();
            self.offer(Event::StructuredLog(StructuredLog {
                trace_id: key.trace_id,
                span_id: key.span_id,
                timestamp: telemetry_core::Timestamp::now(),
                payload: Payload::SpanUpdate { failed },
                attributes: attributes(),
            }));
        }
    }

    fn offer(&self, event: Event) {
        let (Some(gate), context) = (&self.gate, &self.context) else { return };
        let event = match context {
            Some(context) => event.in_context(EventContext::Span(context.key())),
            None => event,
        };
        let moment = Moment::now();
        let record = Record::from_event(event.at(moment.timestamp()), Ttl::default(), moment.tick);
        gate.offer(record.payload_bytes(), move || record);
    }
}
