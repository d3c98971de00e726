//! Reads events: the bodies of `POST /v1/telemetry/events`.

use serde_json::Value as Json;

use super::problem::Problems;
use super::reader::{Object, Reader};
use crate::{
    Attributes, Event, EventContext, Metric, MetricValue, Payload, SpanKey, SpanKind, StructuredLog, Text,
    Timestamp, Ttl, UnstructuredLog,
};

/// Reads `{event, ttl_seconds?}`. Returns `None` if it adds a problem to `problems`.
pub fn read_event_body(body: &Json, problems: &mut Problems) -> Option<(Event, Ttl)> {
    let mut reader = Reader::body(problems);
    let object = reader.object(body)?;
    read_event_and_ttl(&mut reader, object)
}

/// The events of a batch body.
#[derive(Debug, Default)]
pub struct EventBatch {
    /// The valid events, in order.
    pub events: Vec<(Event, Ttl)>,
    /// The invalid events, in order.
    pub rejected: Vec<RejectedEvent>,
}

/// An invalid event of a batch.
#[derive(Debug, serde::Serialize)]
pub struct RejectedEvent {
    /// Its index in the list.
    pub index: usize,
    /// What is wrong with it.
    pub errors: Problems,
}

/// Reads `{events: [{event, ttl_seconds?}, …]}`. An invalid event does not affect the others.
///
/// Returns `None` if the body has no list `events`.
pub fn read_event_batch(body: &Json, problems: &mut Problems) -> Option<EventBatch> {
    let mut reader = Reader::body(problems);
    let items = reader.object(body)?.get("events")?;
    let items = reader.at("events", |reader| reader.list(items))?;
    let mut batch = EventBatch::default();
    for (index, item) in items.iter().enumerate() {
        let mut errors = Problems::default();
        let read = |reader: &mut Reader<'_>| {
            let object = reader.object(item)?;
            read_event_and_ttl(reader, object)
        };
        match Reader::body(&mut errors).at("events", |reader| reader.at_index(index, read)) {
            Some(event) => batch.events.push(event),
            None => batch.rejected.push(RejectedEvent { index, errors }),
        }
    }
    Some(batch)
}

fn read_event_and_ttl(reader: &mut Reader<'_>, object: &Object) -> Option<(Event, Ttl)> {
    let event = reader.required(object, "event", read_event);
    let ttl = reader.optional(object, "ttl_seconds", read_ttl);
    Some((event?, ttl?.unwrap_or_default()))
}

/// Reads a positive integer; huge numbers saturate.
fn read_ttl(reader: &mut Reader<'_>, value: &Json) -> Option<Ttl> {
    let seconds = reader.integer(value)?;
    match u64::try_from(seconds.clamp(0, i128::from(u64::MAX))).ok().and_then(Ttl::from_seconds) {
        Some(ttl) => Some(ttl),
        None => reader.fail("greater_than", "Input should be greater than 0"),
    }
}

fn read_event(reader: &mut Reader<'_>, value: &Json) -> Option<Event> {
    let object = reader.object(value)?;
    let tag = read_tag(reader, object, &["unstructured_log", "metric", "structured_log"])?;
    reader.at(tag, |reader| match tag {
        "unstructured_log" => read_log(reader, object),
        "metric" => read_metric(reader, object),
        _ => read_structured_log(reader, object),
    })
}

/// Reads `type`, which decides how the rest of the object is read.
fn read_tag(reader: &mut Reader<'_>, object: &Object, known: &[&'static str]) -> Option<&'static str> {
    let Some(tag) = object.get("type") else {
        return reader.fail("union_tag_not_found", "Unable to extract tag using discriminator 'type'");
    };
    let found = known.iter().find(|known| tag.as_str() == Some(**known));
    found.copied().or_else(|| {
        let tag = tag.as_str().map_or_else(|| tag.to_string(), str::to_owned);
        let tag: String = tag.chars().take(64).collect();
        let expected: Vec<String> = known.iter().map(|known| format!("'{known}'")).collect();
        let expected = expected.join(", ");
        reader.fail(
            "union_tag_invalid",
            format!(
                "Input tag '{tag}' found using 'type' does not match any of the expected tags: {expected}"
            ),
        )
    })
}

fn read_log(reader: &mut Reader<'_>, object: &Object) -> Option<Event> {
    let context = read_context(reader, object);
    let timestamp = read_timestamp(reader, object);
    let message = reader.required(object, "message", Reader::owned_text);
    let severity = reader.required(object, "severity", Reader::variant);
    let attributes = read_attributes(reader, object);
    Some(Event::UnstructuredLog(UnstructuredLog {
        context: context?,
        timestamp: timestamp?,
        message: message?,
        severity: severity?,
        attributes: attributes?,
    }))
}

fn read_metric(reader: &mut Reader<'_>, object: &Object) -> Option<Event> {
    let context = read_context(reader, object);
    let timestamp = read_timestamp(reader, object);
    let metric = reader.required(object, "metric", |reader, value| match reader.owned_text(value)? {
        text if text.is_empty() => reader.fail("string_too_short", "String should have at least 1 character"),
        text => Some(text),
    });
    let value = reader.required(object, "value", read_value);
    let unit = reader.required(object, "unit", Reader::owned_text);
    let kind = reader.optional(object, "kind", Reader::variant);
    let attributes = read_attributes(reader, object);
    Some(Event::Metric(Metric {
        context: context?,
        timestamp: timestamp?,
        metric: metric?,
        value: value?,
        unit: unit?,
        kind: kind?,
        attributes: attributes?,
    }))
}

fn read_value(reader: &mut Reader<'_>, value: &Json) -> Option<MetricValue> {
    let number = match value {
        Json::Number(number) => number.clone(),
        // The reference reads numeric strings as numbers.
        Json::String(text) => match text.trim().parse() {
            Ok(number) => number,
            Err(_) => return reader.fail("number_parsing", "Input should be a valid number"),
        },
        _ => return reader.fail("number_type", "Input should be a valid number"),
    };
    match (number.as_i64(), number.as_f64()) {
        (Some(integer), _) => Some(MetricValue::Int(integer)),
        (None, Some(float)) if float.is_finite() && !number.is_u64() => Some(MetricValue::Float(float)),
        (None, _) => {
            reader.fail("number_out_of_range", "Input should fit a 64-bit signed integer or a double")
        }
    }
}

fn read_structured_log(reader: &mut Reader<'_>, object: &Object) -> Option<Event> {
    let trace_id = reader.required(object, "trace_id", Reader::trace_id);
    let span_id = reader.required(object, "span_id", Reader::span_id);
    let timestamp = read_timestamp(reader, object);
    let attributes = read_attributes(reader, object);
    let payload = reader.required(object, "payload", read_payload);
    Some(Event::StructuredLog(StructuredLog {
        trace_id: trace_id?,
        span_id: span_id?,
        timestamp: timestamp?,
        payload: payload?,
        attributes: attributes?,
    }))
}

fn read_payload(reader: &mut Reader<'_>, value: &Json) -> Option<Payload> {
    let object = reader.object(value)?;
    let tag = read_tag(reader, object, &["span_start", "span_end"])?;
    reader.at(tag, |reader| match tag {
        "span_start" => read_span_start(reader, object),
        _ => Some(Payload::SpanEnd { status: reader.required(object, "status", Reader::variant)? }),
    })
}

fn read_span_start(reader: &mut Reader<'_>, object: &Object) -> Option<Payload> {
    let name = reader.required(object, "name", Reader::owned_text);
    let parent = reader.optional_not_empty(object, "parent_span_id", Reader::span_id);
    let kind = reader.optional(object, "kind", Reader::variant);
    Some(Payload::SpanStart {
        name: name?,
        parent_span_id: parent?,
        kind: kind?.unwrap_or(SpanKind::Internal),
    })
}

/// Reads the ids of a log or a metric. Both are optional, but a span needs its trace.
fn read_context(reader: &mut Reader<'_>, object: &Object) -> Option<EventContext> {
    let trace = reader.optional_not_empty(object, "trace_id", Reader::trace_id);
    let span = reader.optional_not_empty(object, "span_id", Reader::span_id);
    match (trace?, span?) {
        (Some(trace), Some(span)) => Some(EventContext::Span(SpanKey::new(trace, span))),
        (Some(trace), None) => Some(EventContext::Trace(trace)),
        (None, None) => Some(EventContext::None),
        (None, Some(span)) => reader.at("trace_id", |reader| {
            reader.fail("value_error", format!("Value error, span_id {span} needs a trace_id"))
        }),
    }
}

fn read_timestamp(reader: &mut Reader<'_>, object: &Object) -> Option<Timestamp> {
    reader.required(object, "timestamp", Reader::timestamp)
}

fn read_attributes(reader: &mut Reader<'_>, object: &Object) -> Option<Attributes> {
    let attributes = reader.optional(object, "attributes", |reader, value| {
        let object = reader.object(value)?;
        let mut attributes = Vec::with_capacity(object.len());
        for (key, value) in object {
            if key.is_empty() {
                reader.fail::<()>("string_too_short", "an attribute's key must not be empty");
            } else if let Some(value) = reader.at(key, |reader| reader.scalar(value)) {
                attributes.push((Text::Owned(key.clone()), value));
            }
        }
        (attributes.len() == object.len()).then(|| Attributes::from(attributes))
    });
    attributes.map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;
    use serde_json::json;

    fn problems(event: &Json) -> Vec<String> {
        let mut problems = Problems::default();
        let event = read_event_body(&json!({ "event": event }), &mut problems);
        assert_eq!(event.is_none(), !problems.is_empty());
        problems.iter().map(|problem| format!("{} {}", problem.place(), problem.kind)).collect()
    }

    fn log(field: &str, value: Json) -> Json {
        let mut event = json!({"type": "unstructured_log", "trace_id": "1", "span_id": "2", "message": "m",
                               "timestamp": "2025-08-29T12:00:00Z", "severity": "info"});
        event[field] = value;
        event
    }

    #[test]
    fn problems_have_the_shape_of_the_reference() {
        let bad_severity = log("severity", json!("fatal"));
        let mut problems = Problems::default();
        read_event_body(&json!({ "event": bad_severity }), &mut problems);
        assert_eq!(
            serde_json::to_value(&problems).unwrap(),
            json!([{"loc": ["body", "event", "unstructured_log", "severity"], "type": "enum",
                    "msg": "Input should be 'verbose', 'debug', 'info', 'warn', 'error' or 'critical'"}])
        );
        let error = parse(b"{bad").unwrap_err();
        let expected = json!({"loc": ["body", 1], "msg": "JSON decode error", "type": "json_invalid"});
        assert_eq!(serde_json::to_value(error).unwrap(), expected);
        let end = json!({"type": "structured_log", "trace_id": "1", "span_id": "1", "timestamp": 0,
                         "payload": {"type": "span_end", "status": "meh"}});
        assert_eq!(self::problems(&end), ["body.event.structured_log.payload.span_end.status enum"]);
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let found = problems(&json!({"type": "structured_log", "attributes": {"a": [], "b": {}}}));
        let fields = [
            "trace_id missing",
            "span_id missing",
            "timestamp missing",
            "attributes.a scalar_type",
            "attributes.b scalar_type",
            "payload missing",
        ];
        assert_eq!(found, fields.map(|field| format!("body.event.structured_log.{field}")));
    }

    #[test]
    fn a_span_start_can_have_a_kind() {
        let start = |kind: Json| {
            json!({"type": "structured_log", "trace_id": "1", "span_id": "1", "timestamp": 0,
                   "payload": {"type": "span_start", "name": "s", "kind": kind}})
        };
        let kind = |word: Json| {
            let body = json!({ "event": start(word) });
            match read_event_body(&body, &mut Problems::default()) {
                Some((
                    Event::StructuredLog(StructuredLog { payload: Payload::SpanStart { kind, .. }, .. }),
                    _,
                )) => kind,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((kind(json!("server")), kind(Json::Null)), (SpanKind::Server, SpanKind::Internal));
        let place = "body.event.structured_log.payload.span_start.kind enum";
        assert_eq!(problems(&start(json!("SERVER"))), [place]);
    }

    #[test]
    fn invalid_ids_are_reported() {
        for id in ["0x1", "+1", "-1", "1_0", " 1", "1 ", "parent_span_id", "0", "00000000000000000", "g"] {
            assert_eq!(
                problems(&log("span_id", json!(id))),
                ["body.event.unstructured_log.span_id value_error"],
                "{id}"
            );
        }
        assert_eq!(problems(&log("span_id", json!(1))), ["body.event.unstructured_log.span_id string_type"]);
        assert_eq!(
            problems(&log("trace_id", json!(""))),
            ["body.event.unstructured_log.trace_id value_error"]
        );
        assert!(problems(&log("span_id", json!(""))).is_empty(), "it belongs to the trace");
    }

    #[test]
    fn timestamps_and_numbers_have_several_forms() {
        for time in [
            json!(1_703_123_456),
            json!(1_703_123_456.789),
            json!("2025-08-29 12:00:00"),
            json!("1703123456"),
        ] {
            assert!(problems(&log("timestamp", time.clone())).is_empty(), "{time}");
        }
        for time in [json!("yesterday"), json!(true), json!(1e300), json!("2500-01-01T00:00:00Z")] {
            assert_eq!(problems(&log("timestamp", time.clone())).len(), 1, "{time}");
        }
        assert_eq!(
            problems(&log("attributes", json!({"big": 9_223_372_036_854_775_808_u64}))),
            ["body.event.unstructured_log.attributes.big int_overflow"]
        );
    }

    #[test]
    fn ttl_is_a_positive_integer() {
        let ttl = |ttl: Json| {
            let mut problems = Problems::default();
            let body = json!({"event": log("message", json!("m")), "ttl_seconds": ttl});
            read_event_body(&body, &mut problems).map(|(_, ttl)| ttl.as_duration().as_secs())
        };
        assert_eq!(ttl(json!("60")), Some(60));
        assert_eq!(ttl(Json::Null), Some(604_800));
        assert_eq!(ttl(json!(1e20)), Some(u64::from(u32::MAX)));
        for wrong in [json!(0), json!(-1), json!(1.5), json!("x"), json!(true)] {
            assert_eq!(ttl(wrong.clone()), None, "{wrong}");
        }
    }

    #[test]
    fn an_invalid_event_does_not_affect_the_others_of_its_batch() {
        let body = json!({"events": [{"event": log("message", json!("a"))}, {"event": {}}, 7, {"event": log("message", json!("b"))}]});
        let mut problems = Problems::default();
        let batch = read_event_batch(&body, &mut problems).unwrap();
        assert_eq!((batch.events.len(), problems.len()), (2, 0));
        let rejected: Vec<_> = batch
            .rejected
            .iter()
            .map(|rejected| (rejected.index, rejected.errors.iter().next().unwrap().place()))
            .collect();
        assert_eq!(rejected, [(1, "body.events.1.event".to_owned()), (2, "body.events.2".to_owned())]);
    }

    #[test]
    fn numbers_beyond_a_double_and_deep_nesting_are_errors() {
        for body in
            [&b"{\"a\": 1e400}"[..], b"{\"a\": NaN}", b"{\"a\": Infinity}", b"{\"a\": -Infinity}", b"\xff"]
        {
            assert!(parse(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
        assert!(parse("[".repeat(10_000).as_bytes()).is_err(), "nesting is bounded");
    }
}
