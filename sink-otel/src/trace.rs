//! Exports spans: converts each to OpenTelemetry's `SpanData`, with the ids and times of the original.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::LazyLock;

use opentelemetry::trace::{Event, SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, SpanId};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use telemetry_core::{
    Attributes, LogBody, LogRecord, MetricPoint, MetricValue, Signal, SignalSet, Span, SpanEvent, SpanState,
    SpanStatus, Timestamp,
};

use crate::config::{Config, SignalKind};
use crate::convert::{key_value, own_scope, span_id, string, trace_id};
use crate::http_client::Client;
use crate::sink::Exporter;

/// Marks a span whose start or end is missing.
const UNFINISHED: &str = "telemetry.unfinished";
/// OpenTelemetry's names of attributes whose values have OTLP fields of their own.
const SCOPE_NAME: &str = "otel.scope.name";
const SCOPE_VERSION: &str = "otel.scope.version";
const STATUS_DESCRIPTION: &str = "otel.status_description";

static OWN_SCOPE: LazyLock<InstrumentationScope> = LazyLock::new(own_scope);

/// Exports ended spans.
pub(crate) struct TraceExporter(SpanExporter);

impl Exporter for TraceExporter {
    type Item = Span;

    const SIGNAL: SignalKind = SignalKind::Traces;
    const INTEREST: SignalSet = SignalSet::SPAN_ENDED;

    fn build(config: &Config, client: &Client) -> Result<Self, ExporterBuildError> {
        client.configure(SpanExporter::builder().with_http(), config).build().map(Self)
    }

    fn item(signal: &Signal) -> Option<&Span> {
        match signal {
            Signal::SpanEnded(span) => Some(span),
            _ => None,
        }
    }

    fn service(span: &Span) -> Option<&str> {
        span.service_name.as_deref()
    }

    async fn export(&mut self, spans: &[&Span], resource: &Resource) -> OTelSdkResult {
        self.0.set_resource(resource);
        self.0.export(spans.iter().map(|span| span_data(span)).collect()).await
    }
}

/// Converts a span.
fn span_data(span: &Span) -> SpanData {
    let trace_state = span.trace_state.as_deref().map(TraceState::from_str);
    let status = match span.status {
        None => Status::Unset,
        Some(SpanStatus::Ok) => Status::Ok,
        Some(SpanStatus::Error) => Status::Error { description: description(&span.attributes) },
    };
    let mut attributes = Vec::with_capacity(span.attributes.len() + 1);
    let is_error = span.status == Some(SpanStatus::Error);
    attributes.extend(
        span.attributes
            .iter()
            .filter(|(name, _)| match name.as_ref() {
                SCOPE_NAME | SCOPE_VERSION => false,
                STATUS_DESCRIPTION => !is_error,
                _ => true,
            })
            .map(key_value),
    );
    if let (Some(Err(_)), Some(text)) = (&trace_state, &span.trace_state) {
        // It does not have the form that W3C requires, so it is sent as an attribute.
        attributes.push(KeyValue::new("tracestate", text.to_string()));
    }
    let end_time = span.end_time.unwrap_or_else(|| last_known_time(span));
    if span.state != SpanState::Ended {
        attributes.push(KeyValue::new(UNFINISHED, true));
    }
    SpanData {
        span_context: SpanContext::new(
            trace_id(span.trace_id),
            span_id(span.span_id),
            TraceFlags::SAMPLED,
            false,
            trace_state.and_then(Result::ok).unwrap_or_default(),
        ),
        parent_span_id: span.parent_span_id.map_or(SpanId::INVALID, span_id),
        parent_span_is_remote: span.local_root && span.parent_span_id.is_some(),
        span_kind: kind(span.kind),
        name: span.name.clone(),
        start_time: span.start_time.into(),
        end_time: end_time.into(),
        attributes,
        dropped_attributes_count: span.dropped_attributes_count,
        events: events(span),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: scope(&span.attributes),
    }
}

fn kind(kind: telemetry_core::SpanKind) -> SpanKind {
    match kind {
        telemetry_core::SpanKind::Internal => SpanKind::Internal,
        telemetry_core::SpanKind::Server => SpanKind::Server,
        telemetry_core::SpanKind::Client => SpanKind::Client,
        telemetry_core::SpanKind::Producer => SpanKind::Producer,
        telemetry_core::SpanKind::Consumer => SpanKind::Consumer,
    }
}

fn description(attributes: &Attributes) -> Cow<'static, str> {
    attributes.get(STATUS_DESCRIPTION).and_then(|value| value.as_str()).unwrap_or_default().to_owned().into()
}

fn scope(attributes: &Attributes) -> InstrumentationScope {
    let text = |name: &str| attributes.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    match text(SCOPE_NAME) {
        None => OWN_SCOPE.clone(),
        Some(name) => {
            let scope = InstrumentationScope::builder(name);
            match text(SCOPE_VERSION) {
                Some(version) => scope.with_version(version).build(),
                None => scope.build(),
            }
        }
    }
}

/// Returns the time of the span's last event, or its start: the end of a span whose end is missing.
fn last_known_time(span: &Span) -> Timestamp {
    let times = span.events.iter().map(|event| match event {
        SpanEvent::Log(log) => log.timestamp,
        SpanEvent::Metric(point) => point.timestamp,
    });
    times.max().map_or(span.start_time, |last| last.max(span.start_time))
}

/// Converts the logs and metric points of a span to span events.
fn events(span: &Span) -> SpanEvents {
    let mut events = SpanEvents::default();
    events.dropped_count = span.dropped_events_count;
    events.events = span
        .events
        .iter()
        .map(|event| match event {
            SpanEvent::Log(log) => log_event(log),
            SpanEvent::Metric(point) => metric_event(point),
        })
        .collect();
    events
}

fn log_event(log: &LogRecord) -> Event {
    match &log.body {
        LogBody::SpanEvent { name } => {
            let attributes = log.attributes.iter().map(key_value).collect();
            Event::new(name.clone(), log.timestamp.into(), attributes, 0)
        }
        LogBody::Message { severity, message } => {
            let fields =
                [KeyValue::new("message", string(message)), KeyValue::new("severity", severity.as_str())];
            Event::new("unstructured_log", log.timestamp.into(), with_fields(fields, &log.attributes), 0)
        }
    }
}

fn metric_event(point: &MetricPoint) -> Event {
    let value = match point.value {
        MetricValue::Int(number) => opentelemetry::Value::I64(number),
        MetricValue::Float(number) => opentelemetry::Value::F64(number),
    };
    let fields = [KeyValue::new("value", value), KeyValue::new("unit", string(&point.unit))];
    let name = format!("metric.{}", point.name);
    Event::new(name, point.timestamp.into(), with_fields(fields, &point.attributes), 0)
}

/// Returns `fields`, followed by the attributes whose names differ from theirs.
fn with_fields(fields: [KeyValue; 2], attributes: &Attributes) -> Vec<KeyValue> {
    let mut all = Vec::with_capacity(attributes.len() + 2);
    let taken = [fields[0].key.clone(), fields[1].key.clone()];
    all.extend(fields);
    all.extend(
        attributes.iter().filter(|(name, _)| taken.iter().all(|key| key.as_str() != name)).map(key_value),
    );
    all
}
