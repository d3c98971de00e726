//! Spans, logs and their parts as columns.

use std::sync::Arc;

use serde_json::{Map, Value as Json};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use telemetry_core::{Attributes, Span, SpanId, SpanKey, SpanState, Text, Timestamp, TraceId, Ttl};

use crate::codes::Code;
use crate::services::Services;
use crate::statement::Values;

/// An id bit for bit: SQLite's integers are signed.
pub(crate) const fn span_id_bits(id: SpanId) -> i64 {
    id.as_u64().cast_signed()
}

pub(crate) fn span_id_of(bits: i64) -> Result<SpanId, sqlx::Error> {
    SpanId::from_u64(bits.cast_unsigned()).ok_or_else(|| unreadable("a span id of zero"))
}

pub(crate) fn trace_id_of(bytes: &[u8]) -> Result<TraceId, sqlx::Error> {
    let bytes: [u8; 16] = bytes.try_into().map_err(|_| unreadable("a trace id is not 16 bytes"))?;
    TraceId::from_u128(u128::from_be_bytes(bytes)).ok_or_else(|| unreadable("a trace id of zero"))
}

pub(crate) fn unreadable(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}

/// The word a column's number stands for.
pub(crate) fn word<T: Code>(code: i64) -> Result<T, sqlx::Error> {
    T::from_code(code).ok_or_else(|| unreadable(format!("no word has the number {code}")))
}

pub(crate) fn attributes_of(json: &str) -> Result<Attributes, sqlx::Error> {
    serde_json::from_str(json).map_err(unreadable)
}

/// Arrival is stored as its distance from the event's own time.
pub(crate) const fn lag(arrived: Timestamp, time: Timestamp) -> i64 {
    // Wraps where 584 years lie between the two, and wraps back when read.
    arrived.as_nanos().wrapping_sub(time.as_nanos())
}

pub(crate) const fn arrival(time: Timestamp, lag: i64) -> Timestamp {
    Timestamp::from_nanos(time.as_nanos().wrapping_add(lag))
}

pub(crate) fn ttl_seconds(ttl: Ttl) -> i64 {
    i64::try_from(ttl.as_duration().as_secs()).unwrap_or(i64::MAX)
}

pub(crate) fn ttl_of(seconds: i64) -> Ttl {
    u64::try_from(seconds).ok().and_then(Ttl::from_seconds).unwrap_or_default()
}

/// The columns of a span that both span tables share, after the trace's number.
pub(crate) const SPAN_COLUMNS: &str = "span_id, parent, name, kind, service, start_time, end_time, status, \
                                       attributes, lag, ttl, extra";
/// How many [`SPAN_COLUMNS`] there are.
pub(crate) const SPAN_COLUMN_COUNT: usize = 12;

/// Binds [`SPAN_COLUMNS`].
pub(crate) fn bind_span(values: &mut Values, span: &Span, service: i64) {
    values.add(span_id_bits(span.span_id));
    values.add(span.parent_span_id.map(span_id_bits));
    values.add(span.name.clone().into_owned());
    values.add(span.kind.code());
    values.add(service);
    values.add(span.start_time.as_nanos());
    values.add(span.end_time.map(Timestamp::as_nanos));
    values.add(span.status.map(Code::code));
    values.add(span.attributes.to_json());
    values.add(lag(span.arrived, span.start_time));
    values.add(ttl_seconds(span.ttl));
    values.add(extra(span));
}

/// What few spans have, as one JSON column; null for most.
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

/// Reads [`SPAN_COLUMNS`], the first of them at `at`.
pub(crate) fn read_span(
    row: &SqliteRow,
    at: usize,
    trace_id: TraceId,
    state: SpanState,
    services: &Services,
) -> Result<Span, sqlx::Error> {
    let key = SpanKey::new(trace_id, span_id_of(row.try_get_unchecked(at)?)?);
    let name: String = row.try_get_unchecked(at + 2)?;
    let start_time = Timestamp::from_nanos(row.try_get_unchecked(at + 5)?);
    let mut span = Span {
        parent_span_id: row.try_get_unchecked::<Option<i64>, _>(at + 1)?.map(span_id_of).transpose()?,
        kind: word(row.try_get_unchecked(at + 3)?)?,
        service_name: services.name(row.try_get_unchecked(at + 4)?),
        end_time: row.try_get_unchecked::<Option<i64>, _>(at + 6)?.map(Timestamp::from_nanos),
        status: row.try_get_unchecked::<Option<i64>, _>(at + 7)?.map(word).transpose()?,
        attributes: attributes_of(row.try_get_unchecked(at + 8)?)?,
        arrived: arrival(start_time, row.try_get_unchecked(at + 9)?),
        ttl: ttl_of(row.try_get_unchecked(at + 10)?),
        state,
        ..Span::open(key, name, start_time)
    };
    if let Some(extra) = row.try_get_unchecked::<Option<&str>, _>(at + 11)? {
        read_extra(&mut span, extra)?;
    }
    Ok(span)
}

/// A service's name for a span, shared.
pub(crate) type ServiceName = Option<Arc<str>>;
