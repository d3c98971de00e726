//! Span handles, for code that does not own the span's guard.

use std::sync::Arc;

use telemetry_core::{
    Attributes, Event, EventContext, MetricValue, Payload, Severity, SpanKind, StructuredLog, Text,
    Timestamp, Ttl, Value,
};

use super::context::SpanContext;
use super::guard::SpanGuard;
use crate::queue::{Moment, Queue, Record};

/// A handle on a span for code that does not own its guard, such as a handler within its request's span.
/// [`Telemetry::current`](crate::Telemetry::current) and [`SpanGuard::handle`] return it.
///
/// It is a cheap clone, usable on any thread. Attributes that it sets reach the span through the queue. After
/// the span's end they are refused and counted. A handle on no span sets nothing, and its logs belong to no
/// span.
///
/// ```
/// use telemetry_core::{Severity, attrs};
/// use telemetry_pipeline::Telemetry;
///
/// /// Some function below. It does not know who started the span.
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
    /// `None` if no sink wants anything, or if the span was refused.
    queue: Option<Arc<Queue>>,
    context: Option<SpanContext>,
}

impl SpanHandle {
    pub(crate) const fn new(queue: Option<Arc<Queue>>, context: Option<SpanContext>) -> Self {
        Self { queue, context }
    }

    /// Returns a handle on no span and without a pipeline.
    pub const fn disabled() -> Self {
        Self::new(None, None)
    }

    /// Returns the span's context, or `None` if there is no span.
    pub const fn context(&self) -> Option<&SpanContext> {
        self.context.as_ref()
    }

    /// Starts a span below this one, or the root of a new trace if there is no span.
    pub fn child(&self, name: impl Into<Text>, attributes: Attributes) -> SpanGuard {
        let parent = self.context.clone();
        SpanGuard::start(self.queue.as_ref(), name.into(), SpanKind::Internal, parent, attributes)
    }

    /// Logs a line in this span.
    pub fn log(&self, severity: Severity, message: impl Into<Text>) {
        self.log_with(severity, message, Attributes::default());
    }

    /// Logs a line with attributes in this span.
    pub fn log_with(&self, severity: Severity, message: impl Into<Text>, attributes: Attributes) {
        if self.queue.is_some() {
            self.offer(Event::log(severity, message).with_attributes(attributes));
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
        if self.queue.is_some() {
            self.offer(Event::metric(metric, value, unit).with_attributes(labels));
        }
    }

    /// Sets an attribute. It replaces the start's attribute of the same key. An attribute that the span's
    /// guard sets replaces both.
    pub fn set_attribute(&self, key: impl Into<Text>, value: impl Into<Value>) {
        self.update(false, || Attributes::from([(key.into(), value.into())]));
    }

    /// Sets several attributes at once.
    pub fn set_attributes(&self, attributes: Attributes) {
        self.update(false, || attributes);
    }

    /// Makes the span end as failed, also if its guard does not.
    pub fn fail(&self) {
        self.update(true, Attributes::default);
    }

    /// Makes the span end as failed, with the error's text in the attribute `error`.
    pub fn record_error(&self, error: &dyn std::fmt::Display) {
        self.update(true, || Attributes::from([("error".into(), error.to_string().into())]));
    }

    fn update(&self, failed: bool, attributes: impl FnOnce() -> Attributes) {
        if let (Some(_), Some(context)) = (&self.queue, &self.context) {
            let key = context.key();
            self.offer(Event::StructuredLog(StructuredLog {
                trace_id: key.trace_id,
                span_id: key.span_id,
                timestamp: Timestamp::now(),
                payload: Payload::SpanUpdate { failed },
                attributes: attributes(),
            }));
        }
    }

    fn offer(&self, event: Event) {
        let Some(queue) = &self.queue else { return };
        let event = match &self.context {
            Some(context) => event.in_context(EventContext::Span(context.key())),
            None => event,
        };
        let moment = Moment::now();
        let record = Record::from_event(event.at(moment.timestamp()), Ttl::default(), moment.tick);
        queue.offer(record.retained_bytes(), move || record);
    }
}

impl SpanGuard {
    /// Returns a handle on this span for code that does not own the guard.
    pub fn handle(&self) -> SpanHandle {
        SpanHandle::new(self.queue().cloned(), Some(self.context()))
    }
}
