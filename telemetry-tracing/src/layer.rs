//! The `tracing_subscriber` layer.

use std::sync::atomic::{AtomicUsize, Ordering};

use telemetry_core::{
    Event as TelemetryEvent, EventContext, MetricKind, MetricValue, Severity, SpanKey, SpanKind, Text, Value,
};
use telemetry_pipeline::{SpanContext, SpanGuard, Telemetry, TraceParent, is_pipeline_thread, leave};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::fields::Fields;
use crate::span_stack::{self, CurrentSpan};

/// Returns a layer that records to `telemetry`. See the [crate's documentation](crate).
pub fn layer(telemetry: Telemetry) -> TelemetryLayer {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    TelemetryLayer { telemetry, number, location: false }
}

/// Records spans and events as telemetry. Created by [`layer`].
#[derive(Debug)]
pub struct TelemetryLayer {
    telemetry: Telemetry,
    /// Distinguishes the layers of a process.
    number: usize,
    location: bool,
}

/// The telemetry span of a `tracing` span, kept in the extensions of the registry's span.
#[derive(Debug)]
pub(crate) struct Traced {
    pub(crate) guard: SpanGuard,
    links: Vec<SpanKey>,
    dropped_links: u32,
}

/// Links recorded per span. Further ones are counted.
const MAX_LINKS: usize = 128;

impl TelemetryLayer {
    /// Adds the attributes `code.file.path` and `code.line.number` to spans and logs. Off by default.
    #[must_use]
    pub const fn with_location(mut self, location: bool) -> Self {
        self.location = location;
        self
    }

    /// Returns true if a sink takes signals and this is not a thread of the pipeline.
    fn is_enabled(&self) -> bool {
        !self.telemetry.interest().is_empty() && !is_pipeline_thread()
    }

    /// Adds the location in the source, if the layer is set to do so.
    fn add_location(&self, fields: &mut Fields, metadata: &Metadata<'_>) {
        if self.location {
            if let Some(file) = metadata.file() {
                fields.push("code.file.path", file.to_owned());
            }
            if let Some(line) = metadata.line() {
                fields.push("code.line.number", line);
            }
        }
    }

    /// Returns the parent of a new span: the given one, or the current span of this thread.
    fn parent<S>(&self, attributes: &Attributes<'_>, id: &Id, context: &Context<'_, S>) -> Option<SpanContext>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        if attributes.is_root() {
            return None;
        }
        if attributes.is_contextual() {
            return match span_stack::current(self.number) {
                CurrentSpan::OfLayer(_, span) => Some(span),
                CurrentSpan::Other(current) => current,
            };
        }
        // If the parent was filtered out, its own parent takes its place.
        context.span(id)?.scope().skip(1).find_map(|span| context_of(&span.extensions()))
    }

    /// Starts a span.
    fn start(
        &self,
        metadata: &'static Metadata<'static>,
        parent: Option<SpanContext>,
        mut fields: Fields,
    ) -> SpanGuard {
        let mut name = Text::Borrowed(metadata.name());
        let mut remote = None;
        let mut failed = false;
        let mut kind = SpanKind::Internal;
        if fields.has_special {
            if let Some(Value::String(given)) = fields.take("otel.name") {
                name = given;
            }
            kind = take_kind(&mut fields);
            failed = take_error_status(&mut fields);
            let header = fields.get("traceparent").and_then(Value::as_str);
            remote = header.and_then(|header| header.parse::<TraceParent>().ok());
            if remote.is_some() {
                fields.take("traceparent");
            }
        }
        let span = self.telemetry.span_builder(name, fields.into_attributes()).with_kind(kind);
        let span = match (remote, parent) {
            (Some(remote), _) => span.with_remote_parent(remote),
            (None, Some(parent)) => span.with_parent(parent),
            (None, None) => span.as_root(),
        };
        let mut guard = span.start();
        if failed {
            guard.fail();
        }
        guard
    }

    /// Logs in this span, or in none, whatever the current span is.
    fn log_in(&self, span: Option<SpanKey>, event: TelemetryEvent) {
        match span {
            Some(key) => self.telemetry.log_event(event.in_context(EventContext::Span(key))),
            None => {
                let _left = leave();
                self.telemetry.log_event(event);
            }
        }
    }

    /// Calls `record` with the span of an event: its guard if it is a span of this layer, else its key. Fails the span
    /// first if `fails_span` is set.
    fn in_span_of<S>(
        &self,
        event: &Event<'_>,
        context: &Context<'_, S>,
        fails_span: bool,
        record: impl FnOnce(Option<&SpanGuard>, Option<SpanKey>),
    ) where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let (span, other) = if event.is_root() {
            (None, None)
        } else if event.is_contextual() {
            match span_stack::current(self.number) {
                CurrentSpan::OfLayer(id, _) => (context.span(&id), None),
                CurrentSpan::Other(current) => (None, current.map(|span| span.key())),
            }
        } else {
            let scope = context.event_scope(event);
            let traced = scope.and_then(|mut scope| scope.find(|span| key_of(&span.extensions()).is_some()));
            (traced, None)
        };
        let Some(span) = span else { return record(None, other) };
        if fails_span && let Some(traced) = span.extensions_mut().get_mut::<Traced>() {
            traced.guard.fail();
        }
        record(span.extensions().get::<Traced>().map(|traced| &traced.guard), other);
    }
}

impl<S> Layer<S> for TelemetryLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_layer(&mut self, subscriber: &mut S) {
        // Two layers would write to the same extension of a span, so the second is disabled.
        if (subscriber as &dyn Subscriber).is::<Self>() {
            self.telemetry = Telemetry::disabled();
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if !self.is_enabled() {
            return;
        }
        let mut fields = Fields::new();
        attributes.record(&mut fields);
        self.add_location(&mut fields, attributes.metadata());
        let parent = self.parent(attributes, id, &context);
        let guard = self.start(attributes.metadata(), parent, fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(Traced { guard, links: Vec::new(), dropped_links: 0 });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        // Recorded before the lock: a value's `Debug` may look at the span.
        let mut fields = Fields::new();
        values.record(&mut fields);
        let failed = fields.has_special && take_error_status(&mut fields);
        let mut extensions = span.extensions_mut();
        let Some(traced) = extensions.get_mut::<Traced>() else { return };
        for (key, value) in fields.drain() {
            traced.guard.set_attribute(key, value);
        }
        if failed {
            traced.guard.fail();
        }
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let (Some(span), Some(followed)) = (context.span(id), context.span(follows)) else { return };
        let Some(key) = key_of(&followed.extensions()) else { return };
        if let Some(traced) = span.extensions_mut().get_mut::<Traced>() {
            if traced.links.len() < MAX_LINKS {
                traced.links.push(key);
            } else {
                traced.dropped_links = traced.dropped_links.saturating_add(1);
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if !self.is_enabled() {
            return;
        }
        let record = event.normalized_metadata();
        let metadata = record.as_ref().unwrap_or_else(|| event.metadata());
        let mut fields = Fields::new();
        event.record(&mut fields);
        if record.is_some() {
            fields.retain(|name| !name.starts_with("log."));
        }
        let message = fields.take("message");
        if message.is_none()
            && fields.has_special
            && let Some(metric) = take_metric(&mut fields)
        {
            let metric = metric.with_attributes(fields.into_attributes());
            self.in_span_of(event, &context, false, |guard, other| {
                self.log_in(guard.map(SpanGuard::key).or(other), metric);
            });
            return;
        }
        let message = match message {
            Some(Value::String(message)) => message,
            Some(other) => Text::Owned(other.to_string()),
            None => Text::Owned(fields.as_text()),
        };
        // A field of the same name is the user's, and stays.
        let target_key = if fields.get("target").is_some() { "tracing.target" } else { "target" };
        fields.push(target_key, target(record.as_ref(), event.metadata()));
        self.add_location(&mut fields, metadata);
        let severity = severity(*metadata.level());
        let attributes = fields.into_attributes();
        self.in_span_of(event, &context, severity == Severity::Error, |guard, other| match guard {
            Some(guard) => guard.log_with(severity, message, attributes),
            None => {
                self.log_in(other, TelemetryEvent::log(severity, message).with_attributes(attributes));
            }
        });
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).and_then(|span| context_of(&span.extensions()));
        if let Some(span) = span {
            span_stack::push(self.number, id, span);
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        span_stack::pop(self.number, id);
        let Some(span) = context.span(id) else { return };
        if let Some(traced) = span.extensions_mut().get_mut::<Traced>() {
            // `tracing` closes a span when its last descendant closes, which may be a task that was only spawned in it.
            traced.guard.mark_end();
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        // The guard is dropped only after the lock on the extensions is released.
        let traced = span.extensions_mut().remove::<Traced>();
        if let Some(Traced { mut guard, links, dropped_links }) = traced
            && !links.is_empty()
        {
            guard.set_attribute("otel.links", links_text(&links));
            if dropped_links > 0 {
                guard.set_attribute("otel.dropped_links_count", dropped_links);
            }
        }
    }
}

pub(crate) fn key_of(extensions: &tracing_subscriber::registry::Extensions<'_>) -> Option<SpanKey> {
    extensions.get::<Traced>().map(|traced| traced.guard.key())
}

fn context_of(extensions: &tracing_subscriber::registry::Extensions<'_>) -> Option<SpanContext> {
    extensions.get::<Traced>().map(|traced| traced.guard.context())
}

fn links_text(links: &[SpanKey]) -> String {
    let link = |key: &SpanKey| serde_json::json!({"trace_id": key.trace_id.to_string(), "span_id": key.span_id.to_string()});
    links.iter().map(link).collect::<serde_json::Value>().to_string()
}

/// Removes the span's kind from the fields and returns it. An invalid kind stays an attribute.
fn take_kind(fields: &mut Fields) -> SpanKind {
    let word = fields.get("otel.kind").and_then(Value::as_str);
    let kind = word.and_then(|word| word.to_ascii_lowercase().parse().ok());
    if kind.is_some() {
        fields.take("otel.kind");
    }
    kind.unwrap_or(SpanKind::Internal)
}

/// Removes OpenTelemetry's status from the fields. Returns true if it is an error.
fn take_error_status(fields: &mut Fields) -> bool {
    fields.rename("otel.status_message", "otel.status_description");
    let code = fields.take("otel.status_code");
    code.as_ref().and_then(Value::as_str).is_some_and(|code| code.eq_ignore_ascii_case("error"))
}

/// Returns the metric event if these are the fields of one. Its labels are the fields that are left.
fn take_metric(fields: &mut Fields) -> Option<TelemetryEvent> {
    let value = match fields.get("value")? {
        Value::Int(number) => MetricValue::from(*number),
        Value::Float(number) => MetricValue::from(*number),
        Value::String(_) | Value::Bool(_) | Value::Null => return None,
    };
    if fields.get("metric")?.as_str()?.is_empty() {
        return None;
    }
    let Some(Value::String(name)) = fields.take("metric") else { return None };
    fields.take("value");
    let unit = match fields.take("unit") {
        Some(Value::String(unit)) => unit,
        _ => Text::Borrowed("1"),
    };
    let event = TelemetryEvent::metric(name, value, unit);
    let kind: Option<MetricKind> =
        fields.get("kind").and_then(Value::as_str).and_then(|kind| kind.parse().ok());
    Some(match kind {
        Some(kind) => {
            fields.take("kind");
            event.with_kind(kind)
        }
        None => event,
    })
}

/// Returns the target of a record of the `log` crate, or that of an event, which is known at compile time.
fn target(record: Option<&Metadata<'_>>, metadata: &'static Metadata<'static>) -> Text {
    match record {
        Some(record) => Text::Owned(record.target().to_owned()),
        None => Text::Borrowed(metadata.target()),
    }
}

/// Returns the severity of a level.
fn severity(level: Level) -> Severity {
    match level {
        Level::TRACE => Severity::Verbose,
        Level::DEBUG => Severity::Debug,
        Level::INFO => Severity::Info,
        Level::WARN => Severity::Warn,
        Level::ERROR => Severity::Error,
    }
}
