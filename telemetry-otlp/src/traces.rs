//! Spans: each is submitted whole, not as a start and an end.

use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind as Kind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span as Received, SpanFlags};
use serde_json::{Value as Json, json};
use telemetry_core::{
    Attribute, EventContext, LogBody, LogRecord, Span, SpanEvent, SpanId, SpanKey, SpanKind, SpanState,
    SpanStatus, Submission, Text, Timestamp, Ttl, Value,
};

use crate::attributes::{CopyBudget, Sender, attributes, hex};
use crate::records::{Rejections, ResourceRecords, convert_each, span_id, time, trace_id};

/// Converts the spans of a request that arrived at `now`.
pub(crate) fn convert(
    resources: Vec<ResourceRecords<Received>>,
    now: Timestamp,
    budget: &CopyBudget,
    rejections: &mut Rejections,
) -> Vec<Submission> {
    convert_each(resources, budget, rejections, |record, sender| {
        span(record, sender, now).map(|span| Submission::Span(Box::new(span)))
    })
}

/// Parses the id of the parent. An id that is empty or all zero means that there is none.
fn parent(bytes: &[u8]) -> Result<Option<SpanId>, String> {
    if bytes.is_empty() || *bytes == [0; 8] {
        return Ok(None);
    }
    span_id("parent_span_id", bytes).map(Some)
}

/// Converts one span.
fn span(record: Received, sender: &Sender<'_>, now: Timestamp) -> Result<Span, String> {
    let key = SpanKey::new(trace_id(&record.trace_id)?, span_id("span_id", &record.span_id)?);
    let parent_span_id = parent(&record.parent_span_id)?;
    let start = time("start_time_unix_nano", record.start_time_unix_nano)?;
    let end = time("end_time_unix_nano", record.end_time_unix_nano)?;
    let Some(start_time) = start.or(end) else {
        return Err(format!("span {} has neither a start nor an end time", key.span_id));
    };
    let state = if start.is_some() && end.is_some() { SpanState::Ended } else { SpanState::Unfinished };
    let owner = Owner { key, start_time, service_name: sender.service_name(), now };
    let events = record.events.into_iter().map(|event| owner.event(event)).collect::<Result<_, _>>()?;
    let (code, message) = record.status.map_or((0, String::new()), |status| (status.code, status.message));
    let more = own_fields(message, record.links, record.dropped_links_count);
    let (attributes, unnamed) = sender.attributes(record.attributes, more)?;
    Ok(Span {
        parent_span_id,
        kind: kind(record.kind),
        service_name: Some(Arc::clone(sender.service_name())),
        end_time: end,
        status: status(code),
        attributes,
        events,
        trace_state: Some(record.trace_state).filter(|text| !text.is_empty()).map(Text::Owned),
        local_root: parent_span_id.is_some() && is_remote(record.flags),
        state,
        dropped_attributes_count: record.dropped_attributes_count.saturating_add(unnamed),
        dropped_events_count: record.dropped_events_count,
        arrived: now,
        ttl: Ttl::default(),
        ..Span::open(key, record.name, start_time)
    })
}

/// Returns true if the parent is known to be in another process.
const fn is_remote(flags: u32) -> bool {
    const KNOWN: u32 = SpanFlags::ContextHasIsRemoteMask as u32;
    const REMOTE: u32 = SpanFlags::ContextIsRemoteMask as u32;
    flags & KNOWN != 0 && flags & REMOTE != 0
}

fn kind(number: i32) -> SpanKind {
    match Kind::try_from(number) {
        Ok(Kind::Server) => SpanKind::Server,
        Ok(Kind::Client) => SpanKind::Client,
        Ok(Kind::Producer) => SpanKind::Producer,
        Ok(Kind::Consumer) => SpanKind::Consumer,
        // The default, also for kinds of later versions.
        Ok(Kind::Internal | Kind::Unspecified) | Err(_) => SpanKind::Internal,
    }
}

fn status(code: i32) -> Option<SpanStatus> {
    match StatusCode::try_from(code) {
        Ok(StatusCode::Ok) => Some(SpanStatus::Ok),
        Ok(StatusCode::Error) => Some(SpanStatus::Error),
        Ok(StatusCode::Unset) | Err(_) => None,
    }
}

/// Returns the attributes for what has fields of its own in OTLP.
fn own_fields(message: String, links: Vec<Link>, dropped_links: u32) -> Vec<Attribute> {
    let mut attributes = Vec::new();
    if !message.is_empty() {
        attributes.push((Text::Borrowed("otel.status_description"), Value::from(message)));
    }
    if !links.is_empty() {
        let links: Json = links.into_iter().map(link).collect();
        attributes.push((Text::Borrowed("otel.links"), Value::from(links.to_string())));
    }
    if dropped_links > 0 {
        attributes.push((Text::Borrowed("otel.dropped_links_count"), Value::from(dropped_links)));
    }
    attributes
}

fn link(link: Link) -> Json {
    let mut json = json!({"trace_id": hex(&link.trace_id), "span_id": hex(&link.span_id)});
    if !link.trace_state.is_empty() {
        json["trace_state"] = link.trace_state.into();
    }
    if !link.attributes.is_empty() {
        json["attributes"] = json!(attributes(link.attributes));
    }
    json
}

/// The span that events belong to.
struct Owner<'a> {
    key: SpanKey,
    start_time: Timestamp,
    service_name: &'a Arc<str>,
    now: Timestamp,
}

impl Owner<'_> {
    /// Converts an event. One without a time happened when the span started.
    fn event(&self, event: Event) -> Result<SpanEvent, String> {
        Ok(SpanEvent::Log(Arc::new(LogRecord {
            context: EventContext::Span(self.key),
            timestamp: time("time_unix_nano of an event", event.time_unix_nano)?.unwrap_or(self.start_time),
            body: LogBody::SpanEvent { name: event.name.into() },
            attributes: attributes(event.attributes),
            service_name: Some(Arc::clone(self.service_name)),
            arrived: self.now,
            ttl: Ttl::default(),
        })))
    }
}
