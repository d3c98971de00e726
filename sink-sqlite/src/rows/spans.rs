//! Spans, and ends that wait for their start, as columns.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};
use telemetry_core::{Span, SpanKey, SpanState, Text, Timestamp, TraceId, WaitingEnd};

use super::columns::table_columns;
use super::services::Services;
use super::values::{
    StoredWord, arrival, attributes_of, lag, span_id_bits, span_id_of, trace_id_of, ttl_of, ttl_seconds,
    unreadable, word,
};

table_columns! {
    /// The columns that `span_row` and `span_open` share.
    pub(crate) struct SpanColumns<'r> {
        span_id: i64,
        parent: Option<i64>,
        name: Cow<'r, str>,
        kind: i64,
        service: i64,
        start_time: i64,
        end_time: Option<i64>,
        status: Option<i64>,
        attributes: Cow<'r, str>,
        lag: i64,
        ttl: i64,
        extra: Option<Cow<'r, str>>,
    }
}

impl<'r> SpanColumns<'r> {
    /// Returns the columns of a span of the service with this number.
    pub(crate) fn of(span: &'r Span, service: i64) -> Self {
        Self {
            span_id: span_id_bits(span.span_id),
            parent: span.parent_span_id.map(span_id_bits),
            name: Cow::Borrowed(&span.name),
            kind: span.kind.code(),
            service,
            start_time: span.start_time.as_nanos(),
            end_time: span.end_time.map(Timestamp::as_nanos),
            status: span.status.map(StoredWord::code),
            attributes: span.attributes.to_json().into(),
            lag: lag(span.arrived, span.start_time),
            ttl: ttl_seconds(span.ttl),
            extra: extra(span).map(Cow::Owned),
        }
    }

    /// Returns the span, without its events.
    pub(crate) fn into_span(
        self,
        trace_id: TraceId,
        state: SpanState,
        services: &Services,
    ) -> Result<Span, sqlx::Error> {
        let key = SpanKey::new(trace_id, span_id_of(self.span_id)?);
        let start_time = Timestamp::from_nanos(self.start_time);
        let mut span = Span {
            parent_span_id: self.parent.map(span_id_of).transpose()?,
            kind: word(self.kind)?,
            service_name: services.name(self.service),
            end_time: self.end_time.map(Timestamp::from_nanos),
            status: self.status.map(word).transpose()?,
            attributes: attributes_of(&self.attributes)?,
            arrived: arrival(start_time, self.lag),
            ttl: ttl_of(self.ttl),
            state,
            ..Span::open(key, self.name.into_owned(), start_time)
        };
        if let Some(extra) = self.extra {
            read_extra(&mut span, &extra)?;
        }
        Ok(span)
    }
}

/// Returns what only few spans have, as one JSON column. It is null for most.
fn extra(span: &Span) -> Option<String> {
    let mut extra = Map::new();
    if let Some(state) = &span.trace_state {
        extra.insert("trace_state".into(), state.as_ref().into());
    }
    if span.local_root {
        extra.insert("local_root".into(), true.into());
    }
    if let Some(submitted) = span.submitted_trace_id {
        extra.insert("submitted_trace_id".into(), submitted.to_string().into());
    }
    if span.dropped_attributes_count > 0 {
        extra.insert("dropped_attributes_count".into(), span.dropped_attributes_count.into());
    }
    if span.dropped_events_count > 0 {
        extra.insert("dropped_events_count".into(), span.dropped_events_count.into());
    }
    (!extra.is_empty()).then(|| Json::Object(extra).to_string())
}

fn read_extra(span: &mut Span, extra: &str) -> Result<(), sqlx::Error> {
    let extra: Json = serde_json::from_str(extra).map_err(unreadable)?;
    span.trace_state = extra["trace_state"].as_str().map(|state| Text::Owned(state.to_owned()));
    span.local_root = extra["local_root"].as_bool().unwrap_or(false);
    span.submitted_trace_id = extra["submitted_trace_id"].as_str().and_then(|id| id.parse().ok());
    let count = |name: &str| extra[name].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
    span.dropped_attributes_count = count("dropped_attributes_count");
    span.dropped_events_count = count("dropped_events_count");
    Ok(())
}

table_columns! {
    /// A row of `end_waiting`.
    pub(crate) struct WaitingEndColumns<'r> {
        trace_id: Cow<'r, [u8]>,
        span_id: i64,
        end_time: i64,
        status: i64,
        attributes: Cow<'r, str>,
        arrived: i64,
        ttl: i64,
    }
}

impl WaitingEndColumns<'_> {
    /// Returns the columns of an end.
    pub(crate) fn of(end: &WaitingEnd) -> Self {
        Self {
            trace_id: end.key.trace_id.to_bytes().to_vec().into(),
            span_id: span_id_bits(end.key.span_id),
            end_time: end.end_time.as_nanos(),
            status: end.status.code(),
            attributes: end.attributes.to_json().into(),
            arrived: end.arrived.as_nanos(),
            ttl: ttl_seconds(end.ttl),
        }
    }

    /// Returns the end.
    pub(crate) fn into_end(self) -> Result<WaitingEnd, sqlx::Error> {
        Ok(WaitingEnd {
            key: SpanKey::new(trace_id_of(&self.trace_id)?, span_id_of(self.span_id)?),
            end_time: Timestamp::from_nanos(self.end_time),
            status: word(self.status)?,
            attributes: attributes_of(&self.attributes)?,
            arrived: Timestamp::from_nanos(self.arrived),
            ttl: ttl_of(self.ttl),
        })
    }
}
