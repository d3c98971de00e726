//! Events: the bodies of `POST /v1/telemetry/events`.

use serde_json::{Map, Value as Json};

use super::Problems;
use super::scope::{Scope, words_of};
use crate::{
    Attributes, Event, EventContext, Metric, MetricKind, MetricValue, Payload, Severity, SpanId, SpanKey,
    SpanKind, SpanStatus, StructuredLog, Text, Timestamp, Ttl, UnstructuredLog,
};

/// Reads `{event, ttl_seconds?}`. Every problem goes to `problems`; with one there is no event.
pub fn read_event_body(body: &Json, problems: &mut Problems) -> Option<(Event, Ttl)> {
    let mut scope = Scope::body(problems);
    let object = scope.object(body)?;
    read_logged(&mut scope, object)
}

/// What a batch body holds: good events, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct EventBatch {
    /// The good ones, in order.
    pub events: Vec<(Event, Ttl)>,
    /// The others.
    pub rejected: Vec<RejectedEvent>,
}

/// An event of a batch that was refused.
#[derive(Debug, serde::Serialize)]
pub struct RejectedEvent {
    /// Its place in the list.
    pub index: usize,
    /// What is wrong with it.
    pub errors: Problems,
}

/// Reads `{events: [{event, ttl_seconds?}, …]}`, if the body is of that form. One bad event harms no other.
pub fn read_event_batch(body: &Json, problems: &mut Problems) -> Option<EventBatch> {
    let mut scope = Scope::body(problems);
    let items = scope.object(body)?.get("events")?;
    let items = scope.at("events", |scope| scope.list(items))?;
    let mut batch = EventBatch::default();
    for (index, item) in items.iter().enumerate() {
        let mut errors = Problems::default();
        let mut scope = Scope::body(&mut errors);
        let logged = scope.at("events", |scope| {
            scope.item(index, |scope| scope.object(item).and_then(|object| read_logged(scope, object)))
        });
        match logged {
            Some(logged) => batch.events.push(logged),
            None => batch.rejected.push(RejectedEvent { index, errors }),
        }
    }
    Some(batch)
}

fn read_logged(scope: &mut Scope<'_>, object: &Map<String, Json>) -> Option<(Event, Ttl)> {
    let event =
        scope.required(object, "event").and_then(|event| scope.at("event", |scope| read_event(scope, event)));
    let ttl = scope.at("ttl_seconds", |scope| read_ttl(scope, object.get("ttl_seconds")));
    event.zip(ttl)
}

/// A positive integer; null or absent is the default, huge ones saturate.
fn read_ttl(scope: &mut Scope<'_>, value: Option<&Json>) -> Option<Ttl> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Some(Ttl::default()) };
    let seconds = scope.integer(value)?;
    match u64::try_from(seconds.clamp(0, i128::from(u64::MAX))).ok().and_then(Ttl::from_seconds) {
        Some(ttl) => Some(ttl),
        None => scope.fail("greater_than", "Input should be greater than 0"),
    }
}

const TYPES: [&str; 3] = ["unstructured_log", "metric", "structured_log"];

fn read_event(scope: &mut Scope<'_>, value: &Json) -> Option<Event> {
    let object = scope.object(value)?;
    let tag = read_tag(scope, object, &TYPES)?;
    scope.at(tag, |scope| match tag {
        "unstructured_log" => read_log(scope, object),
        "metric" => read_metric(scope, object),
        _ => read_structured_log(scope, object),
    })
}

/// The value of `type`, which says how the rest is read.
fn read_tag(
    scope: &mut Scope<'_>,
    object: &Map<String, Json>,
    known: &[&'static str],
) -> Option<&'static str> {
    let Some(tag) = object.get("type") else {
        return scope.fail("union_tag_not_found", "Unable to extract tag using discriminator 'type'");
    };
    let found = known.iter().find(|known| tag.as_str() == Some(**known));
    found.copied().or_else(|| {
        let tag = tag.as_str().map_or_else(|| tag.to_string(), str::to_owned);
        let tag: String = tag.chars().take(64).collect();
        let expected: Vec<String> = known.iter().map(|known| format!("'{known}'")).collect();
        let expected = expected.join(", ");
        scope.fail(
            "union_tag_invalid",
            format!(
                "Input tag '{tag}' found using 'type' does not match any of the expected tags: {expected}"
            ),
        )
    })
}

fn read_log(scope: &mut Scope<'_>, object: &Map<String, Json>) -> Option<Event> {
    let context = read_context(scope, object);
    let timestamp = read_timestamp(scope, object);
    let message =
        scope.required(object, "message").and_then(|value| scope.at("message", |scope| scope.text(value)));
    let severity = scope
        .required(object, "severity")
        .and_then(|value| scope.at("severity", |scope| scope.word(value, words_of!(Severity))));
    let attributes = read_attributes(scope, object);
    Some(Event::UnstructuredLog(UnstructuredLog {
        context: context?,
        timestamp: timestamp?,
        message: Text::Owned(message?.to_owned()),
        severity: severity?,
        attributes: attributes?,
    }))
}

fn read_metric(scope: &mut Scope<'_>, object: &Map<String, Json>) -> Option<Event> {
    let context = read_context(scope, object);
    let timestamp = read_timestamp(scope, object);
    let metric = scope.required(object, "metric").and_then(|value| {
        scope.at("metric", |scope| match scope.text(value)? {
            "" => scope.fail("string_too_short", "String should have at least 1 character"),
            text => Some(text),
        })
    });
    let value =
        scope.required(object, "value").and_then(|value| scope.at("value", |scope| read_value(scope, value)));
    let unit = scope.required(object, "unit").and_then(|value| scope.at("unit", |scope| scope.text(value)));
    let kind = match object.get("kind") {
        None | Some(Json::Null) => Some(None),
        Some(value) => scope.at("kind", |scope| scope.word(value, words_of!(MetricKind))).map(Some),
    };
    let attributes = read_attributes(scope, object);
    Some(Event::Metric(Metric {
        context: context?,
        timestamp: timestamp?,
        metric: Text::Owned(metric?.to_owned()),
        value: value?,
        unit: Text::Owned(unit?.to_owned()),
        kind: kind?,
        attributes: attributes?,
    }))
}

fn read_value(scope: &mut Scope<'_>, value: &Json) -> Option<MetricValue> {
    let number = match value {
        Json::Number(number) => number.clone(),
        // Numeric strings are numbers.
        Json::String(text) => match text.trim().parse() {
            Ok(number) => number,
            Err(_) => return scope.fail("number_parsing", "Input should be a valid number"),
        },
        _ => return scope.fail("number_type", "Input should be a valid number"),
    };
    match (number.as_i64(), number.as_f64()) {
        (Some(integer), _) => Some(MetricValue::Int(integer)),
        (None, Some(float)) if float.is_finite() && !number.is_u64() => Some(MetricValue::Float(float)),
        (None, _) => {
            scope.fail("number_out_of_range", "Input should fit a 64-bit signed integer or a double")
        }
    }
}

fn read_structured_log(scope: &mut Scope<'_>, object: &Map<String, Json>) -> Option<Event> {
    let trace_id = scope
        .required(object, "trace_id")
        .and_then(|value| scope.at("trace_id", |scope| scope.trace_id(value)));
    let span_id =
        scope.required(object, "span_id").and_then(|value| scope.at("span_id", |scope| scope.span_id(value)));
    let timestamp = read_timestamp(scope, object);
    let attributes = read_attributes(scope, object);
    let payload = scope
        .required(object, "payload")
        .and_then(|value| scope.at("payload", |scope| read_payload(scope, value)));
    Some(Event::StructuredLog(StructuredLog {
        trace_id: trace_id?,
        span_id: span_id?,
        timestamp: timestamp?,
        payload: payload?,
        attributes: attributes?,
    }))
}

fn read_payload(scope: &mut Scope<'_>, value: &Json) -> Option<Payload> {
    let object = scope.object(value)?;
    let tag = read_tag(scope, object, &["span_start", "span_end"])?;
    scope.at(tag, |scope| {
        if tag == "span_end" {
            let status = scope.required(object, "status")?;
            return scope
                .at("status", |scope| scope.word(status, words_of!(SpanStatus)))
                .map(|status| Payload::SpanEnd { status });
        }
        let name =
            scope.required(object, "name").and_then(|value| scope.at("name", |scope| scope.text(value)));
        let parent = read_optional_span_id(scope, object, "parent_span_id");
        let kind = match object.get("kind") {
            None | Some(Json::Null) => Some(SpanKind::Internal),
            Some(value) => scope.at("kind", |scope| scope.word(value, words_of!(SpanKind))),
        };
        let name = Text::Owned(name?.to_owned());
        Some(Payload::SpanStart { name, parent_span_id: parent?, kind: kind? })
    })
}

/// Absent, null and empty are all none.
fn read_optional_span_id(
    scope: &mut Scope<'_>,
    object: &Map<String, Json>,
    key: &str,
) -> Option<Option<SpanId>> {
    match object.get(key) {
        None | Some(Json::Null) => Some(None),
        Some(Json::String(text)) if text.is_empty() => Some(None),
        Some(value) => scope.at(key, |scope| scope.span_id(value)).map(Some),
    }
}

/// The ids of a log or a metric, which may be absent; a span without its trace is an error.
fn read_context(scope: &mut Scope<'_>, object: &Map<String, Json>) -> Option<EventContext> {
    let trace = match object.get("trace_id") {
        None | Some(Json::Null) => Some(None),
        Some(Json::String(text)) if text.is_empty() => Some(None),
        Some(value) => scope.at("trace_id", |scope| scope.trace_id(value)).map(Some),
    };
    let span = read_optional_span_id(scope, object, "span_id");
    match (trace?, span?) {
        (Some(trace), Some(span)) => Some(EventContext::Span(SpanKey::new(trace, span))),
        (Some(trace), None) => Some(EventContext::Trace(trace)),
        (None, None) => Some(EventContext::None),
        (None, Some(span)) => scope.at("trace_id", |scope| {
            scope.fail("value_error", format!("Value error, span_id {span} needs a trace_id"))
        }),
    }
}

fn read_timestamp(scope: &mut Scope<'_>, object: &Map<String, Json>) -> Option<Timestamp> {
    let value = scope.required(object, "timestamp")?;
    scope.at("timestamp", |scope| scope.timestamp(value))
}

fn read_attributes(scope: &mut Scope<'_>, object: &Map<String, Json>) -> Option<Attributes> {
    let value = match object.get("attributes") {
        None | Some(Json::Null) => return Some(Attributes::default()),
        Some(value) => value,
    };
    scope.at("attributes", |scope| {
        let object = scope.object(value)?;
        let mut attributes = Vec::with_capacity(object.len());
        for (key, value) in object {
            if key.is_empty() {
                scope.fail::<()>("string_too_short", "an attribute's key must not be empty");
                continue;
            }
            if let Some(value) = scope.at(key, |scope| scope.scalar(value)) {
                attributes.push((Text::Owned(key.clone()), value));
            }
        }
        (attributes.len() == object.len()).then(|| attributes.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;
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
    fn the_shapes_of_the_reference() {
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
    fn a_start_may_say_its_kind() {
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
    fn ids_of_every_wrong_form_are_refused() {
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
    fn timestamps_and_numbers_come_in_many_forms() {
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
    fn one_bad_event_of_a_batch_harms_no_other() {
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
    fn no_json_number_is_infinite() {
        for body in
            [&b"{\"a\": 1e400}"[..], b"{\"a\": NaN}", b"{\"a\": Infinity}", b"{\"a\": -Infinity}", b"\xff"]
        {
            assert!(parse(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
        assert!(parse("[".repeat(10_000).as_bytes()).is_err(), "nesting is bounded");
    }
}
