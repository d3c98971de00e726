//! Converts rows of the reference to spans, logs and metric points.

use std::sync::Arc;

use serde_json::{Map, Value as Json};
use telemetry_core::{
    Attributes, EventContext, LogBody, LogRecord, MetricPoint, MetricValue, Severity, Span, SpanId, SpanKey,
    SpanKind, SpanState, Text, Timestamp, TraceId, Ttl, Value,
};

use super::python_json;
use super::source::{EventRow, SpanRow};

/// A row of `span_events`, converted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Converted {
    Log(LogRecord),
    Metric(MetricPoint),
}

/// Converts rows. They all arrive at the same time.
pub(super) struct Converter {
    arrived: Timestamp,
    /// The service of the row before, which is nearly always that of the next.
    service: Option<Arc<str>>,
}

impl Converter {
    pub(super) const fn new(arrived: Timestamp) -> Self {
        Self { arrived, service: None }
    }

    /// Converts a span. A span without an end time is unfinished.
    pub(super) fn span(&mut self, row: &SpanRow) -> Result<Span, String> {
        let key = key_of(row)?;
        let start_time = time("start_time", row.start_time.as_deref())?;
        let end_time = row.end_time.as_deref().map(|end| time("end_time", Some(end))).transpose()?;
        let parent_span_id = match row.parent_span_id.as_deref() {
            None | Some("") => None,
            // OpenTelemetry's form of no parent.
            Some(zeros) if zeros.bytes().all(|digit| digit == b'0') => None,
            Some(parent) => {
                Some(parent.parse::<SpanId>().map_err(|error| format!("parent_span_id: {error}"))?)
            }
        };
        let attributes = attributes_of(members(row.attributes.as_deref())?)?;
        Ok(Span {
            parent_span_id,
            kind: word(row.kind.as_deref())?.unwrap_or(SpanKind::Internal),
            service_name: self.service(row.service_name.as_deref()),
            end_time,
            status: match row.status.as_deref() {
                Some(status) if status.eq_ignore_ascii_case("unset") => None,
                status => word(status)?,
            },
            state: if end_time.is_some() { SpanState::Ended } else { SpanState::Unfinished },
            ttl: ttl_of(&attributes),
            attributes,
            arrived: self.arrived,
            ..Span::open(key, row.name.clone().unwrap_or_default(), start_time)
        })
    }

    /// Converts a log, a metric point or any other span event. An event that only looks like a log or a metric point
    /// stays a span event.
    pub(super) fn event(
        &self,
        row: &EventRow,
        context: EventContext,
        service_name: Option<Arc<str>>,
    ) -> Result<Converted, String> {
        let name = row.name.as_deref().ok_or("it has no name")?;
        let timestamp = time("timestamp", row.timestamp.as_deref())?;
        let mut members = members(row.attributes.as_deref())?;
        let point = take_point(name, &mut members);
        let message = if point.is_none() { take_message(name, &mut members) } else { None };
        let attributes = attributes_of(members)?;
        let (arrived, ttl) = (self.arrived, ttl_of(&attributes));
        if let Some((name, value, unit)) = point {
            let name = Text::Owned(name);
            return Ok(Converted::Metric(MetricPoint {
                context,
                timestamp,
                name,
                value,
                unit: unit.into(),
                kind: None,
                attributes,
                service_name,
                arrived,
                ttl,
                stream: None,
            }));
        }
        let body = message.unwrap_or_else(|| LogBody::SpanEvent { name: name.to_owned().into() });
        Ok(Converted::Log(LogRecord { context, timestamp, body, attributes, service_name, arrived, ttl }))
    }

    fn service(&mut self, name: Option<&str>) -> Option<Arc<str>> {
        if self.service.as_deref() != name {
            self.service = name.map(Arc::from);
        }
        self.service.clone()
    }
}

/// Returns what the events of a span belong to if the span itself can't be stored.
pub(super) fn context_of(row: &SpanRow) -> EventContext {
    key_of(row).map_or(EventContext::None, EventContext::Span)
}

/// Parses the ids of a span.
fn key_of(row: &SpanRow) -> Result<SpanKey, String> {
    let text = |name: &str, value: &Option<String>| value.clone().ok_or_else(|| format!("{name} is null"));
    let trace_id: TraceId =
        text("trace_id", &row.trace_id)?.parse().map_err(|error| format!("trace_id: {error}"))?;
    let span_id: SpanId =
        text("span_id", &row.span_id)?.parse().map_err(|error| format!("span_id: {error}"))?;
    Ok(SpanKey::new(trace_id, span_id))
}

/// Parses a column of time.
fn time(name: &str, text: Option<&str>) -> Result<Timestamp, String> {
    let text = text.ok_or_else(|| format!("{name} is null"))?;
    text.parse().map_err(|error| format!("{name}: {error}"))
}

/// Parses a word as OpenTelemetry's Python SDK writes it: in capitals.
fn word<T: std::str::FromStr<Err: std::fmt::Display>>(text: Option<&str>) -> Result<Option<T>, String> {
    text.map(|text| text.to_ascii_lowercase().parse().map_err(|error: T::Err| error.to_string())).transpose()
}

/// Parses a column of attributes.
fn members(text: Option<&str>) -> Result<Map<String, Json>, String> {
    let text = text.unwrap_or("{}");
    match python_json::parse(text).map_err(|error| format!("attributes: {error}"))? {
        Json::Object(members) => Ok(members),
        Json::Null => Ok(Map::new()),
        _ => Err("attributes: not an object".to_owned()),
    }
}

/// Returns the members as attributes. Lists and objects become JSON text, and so do integers of more than 64 bits.
fn attributes_of(members: Map<String, Json>) -> Result<Attributes, String> {
    let value = |value: Json| match value {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(flag),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::Int(integer),
            (None, Some(float)) if !number.is_u64() && float.is_finite() => Value::Float(float),
            _ => Value::from(number.to_string()),
        },
        Json::String(text) => Value::from(text),
        nested @ (Json::Array(_) | Json::Object(_)) => Value::from(nested.to_string()),
    };
    if members.contains_key("") {
        return Err("attributes: a key is empty".to_owned());
    }
    Ok(members.into_iter().map(|(key, json)| (Text::Owned(key), value(json))).collect())
}

/// Removes the value and the unit of a metric point from the members. Returns its name, value and unit.
fn take_point(name: &str, members: &mut Map<String, Json>) -> Option<(String, MetricValue, String)> {
    let name = name.strip_prefix("metric.").filter(|name| !name.is_empty())?;
    let value = match members.get("value")? {
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => MetricValue::Int(integer),
            (None, Some(float)) if float.is_finite() => MetricValue::Float(float),
            _ => return None,
        },
        _ => return None,
    };
    let unit = match members.get("unit") {
        None => String::new(),
        Some(Json::String(unit)) => unit.clone(),
        Some(_) => return None,
    };
    members.shift_remove("value");
    members.shift_remove("unit");
    Some((name.to_owned(), value, unit))
}

/// Removes the severity and the message of a log from the members. Returns them.
fn take_message(name: &str, members: &mut Map<String, Json>) -> Option<LogBody> {
    if name != "unstructured_log" {
        return None;
    }
    let severity: Severity = members.get("severity")?.as_str()?.parse().ok()?;
    let message = members.get("message")?.as_str()?.to_owned();
    members.shift_remove("severity");
    members.shift_remove("message");
    Some(LogBody::Message { severity, message: message.into() })
}

/// Returns the time to live that the attribute `__ttl__` asks for, but never less than the default. The reference
/// stores the attribute and keeps every row forever.
fn ttl_of(attributes: &Attributes) -> Ttl {
    let asked = match attributes.get("__ttl__") {
        Some(Value::Int(seconds)) => {
            u64::try_from(*seconds).ok().and_then(Ttl::from_seconds).unwrap_or_default()
        }
        _ => Ttl::default(),
    };
    asked.max(Ttl::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_core::{SpanStatus, attrs};

    fn span_row() -> SpanRow {
        let text = |text: &str| Some(text.to_owned());
        SpanRow {
            row: 1,
            span_id: text("00000000000000aa"),
            trace_id: text("000000000000000000000000000000bb"),
            name: text("chat"),
            start_time: text("2026-03-01T12:00:00.5+00:00"),
            end_time: text("2026-03-01T12:00:01+00:00"),
            attributes: text(r#"{"n": NaN, "l": [1, 2], "big": 18446744073709551615, "__ttl__": 1000000}"#),
            status: text("ERROR"),
            kind: text("SERVER"),
            ..SpanRow::default()
        }
    }

    fn event(name: &str, attributes: &str) -> Result<Converted, String> {
        let row = EventRow {
            name: Some(name.to_owned()),
            timestamp: Some("2026-03-01T12:00:00+00:00".to_owned()),
            attributes: Some(attributes.to_owned()),
            ..EventRow::default()
        };
        Converter::new(Timestamp::default()).event(&row, EventContext::None, None)
    }

    #[test]
    fn a_span_keeps_what_python_wrote_even_if_it_is_not_json() {
        let span = Converter::new(Timestamp::from_nanos(7)).span(&span_row()).unwrap();
        assert_eq!((span.kind, span.status), (SpanKind::Server, Some(SpanStatus::Error)));
        let attributes =
            attrs! { "n" => "NaN", "l" => "[1,2]", "big" => "18446744073709551615", "__ttl__" => 1_000_000 };
        assert_eq!(span.attributes, attributes);
        assert_eq!(
            span.expires(),
            Timestamp::from_nanos(1_000_000_000_000_007),
            "its own time to live, counted from now"
        );
        let short = SpanRow { attributes: Some(r#"{"__ttl__": 1}"#.to_owned()), ..span_row() };
        assert_eq!(Converter::new(Timestamp::default()).span(&short).unwrap().ttl, Ttl::default());
    }

    #[test]
    fn a_span_without_an_end_is_unfinished_and_one_without_a_start_is_rejected() {
        let open = SpanRow { end_time: None, status: Some("UNSET".to_owned()), ..span_row() };
        let span = Converter::new(Timestamp::default()).span(&open).unwrap();
        assert_eq!((span.state, span.status), (SpanState::Unfinished, None));
        let bad = SpanRow { start_time: None, ..span_row() };
        assert_eq!(Converter::new(Timestamp::default()).span(&bad).unwrap_err(), "start_time is null");
        let bad = SpanRow { span_id: Some("zz".to_owned()), ..span_row() };
        assert!(Converter::new(Timestamp::default()).span(&bad).unwrap_err().starts_with("span_id: "));
    }

    #[test]
    fn events_become_logs_or_metric_points_or_stay_span_events() {
        let Ok(Converted::Metric(point)) = event("metric.tokens", r#"{"value": 2.0, "unit": "s", "m": 1}"#)
        else {
            panic!("a metric point")
        };
        assert_eq!((point.name.as_ref(), point.value), ("tokens", MetricValue::Float(2.0)));
        assert_eq!(point.attributes, attrs! { "m" => 1 });
        let Ok(Converted::Log(log)) = event("unstructured_log", r#"{"message": "m", "severity": "warn"}"#)
        else {
            panic!("a log")
        };
        assert_eq!(log.body, LogBody::Message { severity: Severity::Warn, message: "m".into() });
        for (name, attributes) in [
            ("metric.tokens", r#"{"value":"many"}"#),
            ("unstructured_log", r#"{"message":"m"}"#),
            ("x", "{}"),
        ] {
            let Ok(Converted::Log(log)) = event(name, attributes) else { panic!("{name}") };
            assert_eq!(log.body, LogBody::SpanEvent { name: name.to_owned().into() });
            assert_eq!(log.attributes.to_json(), attributes);
        }
        assert!(event("x", "[]").is_err());
    }
}
