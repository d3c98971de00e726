//! Requests in JSON. Records are read one by one, so that a bad one costs none of its neighbours.
//!
//! `opentelemetry-proto` reads a record; before that [`tidy`] brings what protobuf's JSON mapping
//! also allows into the one form which that crate reads: nulls are absent fields, fields may have
//! their names of protobuf, numbers may be texts, integers may be written as floats, bytes may be
//! base64 of either alphabet, enums may be names, an empty list may lack its `values`.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, Sum, Summary, SummaryDataPoint, metric,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::{Group, Refusal, Rejections, weight};

/// The names of a request's three levels.
struct Levels {
    resources: &'static str,
    scopes: &'static str,
    records: &'static str,
    route: &'static str,
}

const SPANS: Levels =
    Levels { resources: "resourceSpans", scopes: "scopeSpans", records: "spans", route: "/v1/traces" };
const METRICS: Levels =
    Levels { resources: "resourceMetrics", scopes: "scopeMetrics", records: "metrics", route: "/v1/metrics" };
const LOGS: Levels =
    Levels { resources: "resourceLogs", scopes: "scopeLogs", records: "logRecords", route: "/v1/logs" };

pub(super) fn spans(
    body: &[u8],
    limit: usize,
    rejected: &mut Rejections,
) -> Result<Vec<Group<Span>>, Refusal> {
    groups(body, limit, &SPANS, rejected, |span, rejected| record("span", span, rejected))
}

pub(super) fn logs(
    body: &[u8],
    limit: usize,
    rejected: &mut Rejections,
) -> Result<Vec<Group<LogRecord>>, Refusal> {
    groups(body, limit, &LOGS, rejected, |log, rejected| record("log record", log, rejected))
}

pub(super) fn metrics(
    body: &[u8],
    limit: usize,
    rejected: &mut Rejections,
) -> Result<Vec<Group<Metric>>, Refusal> {
    groups(body, limit, &METRICS, rejected, metric)
}

/// Walks down to the records and reads each with `record`.
fn groups<R>(
    body: &[u8],
    limit: usize,
    levels: &Levels,
    rejected: &mut Rejections,
    record: impl Fn(Json, &mut Rejections) -> Option<R>,
) -> Result<Vec<Group<R>>, Refusal> {
    weight::of_json(body, limit)?;
    let mut request: Json = serde_json::from_slice(body)
        .map_err(|error| Refusal::Malformed(format!("the body is not JSON: {error}")))?;
    tidy(&mut request);
    let Json::Object(mut request) = request else {
        return Err(Refusal::Malformed("the body is no JSON object".into()));
    };
    if !request.contains_key(levels.resources) {
        for other in [&SPANS, &METRICS, &LOGS] {
            if request.contains_key(other.resources) {
                let text = format!("the body holds `{}`; post it to {}", other.resources, other.route);
                return Err(Refusal::Malformed(text));
            }
        }
    }
    let mut groups = Vec::new();
    for mut resource in objects(&mut request, levels.resources)? {
        let scopes = objects(&mut resource, levels.scopes)?;
        let of_resource = part::<Resource>(&mut resource, "resource");
        for mut scope in scopes {
            let records = list(&mut scope, levels.records)?;
            let of_scope = part::<InstrumentationScope>(&mut scope, "scope");
            match (&of_resource, of_scope) {
                (Ok(resource), Ok(scope)) => {
                    let records = records.into_iter().filter_map(|item| record(item, rejected)).collect();
                    groups.push(Group { resource: resource.clone(), scope, records });
                }
                (Err(error), _) => rejected.add_many(records.len() as u64, format!("resource: {error}")),
                (_, Err(error)) => rejected.add_many(records.len() as u64, format!("scope: {error}")),
            }
        }
    }
    Ok(groups)
}

/// Takes a list out of an object; absent is empty.
fn list(object: &mut Map<String, Json>, key: &str) -> Result<Vec<Json>, Refusal> {
    match object.remove(key) {
        None => Ok(Vec::new()),
        Some(Json::Array(items)) => Ok(items),
        Some(_) => Err(Refusal::Malformed(format!("`{key}` is no list"))),
    }
}

fn objects(object: &mut Map<String, Json>, key: &str) -> Result<Vec<Map<String, Json>>, Refusal> {
    let object_of = |item| match item {
        Json::Object(object) => Ok(object),
        _ => Err(Refusal::Malformed(format!("`{key}` holds something that is no object"))),
    };
    list(object, key)?.into_iter().map(object_of).collect()
}

fn part<T: DeserializeOwned>(object: &mut Map<String, Json>, key: &str) -> Result<Option<T>, String> {
    object.remove(key).map(read).transpose()
}

/// A span or a log record.
fn record<T: DeserializeOwned>(what: &str, json: Json, rejected: &mut Rejections) -> Option<T> {
    let read =
        ids(&json).and_then(|()| read(json).map_err(|error| format!("a {what} is malformed: {error}")));
    read.map_err(|reason| rejected.add(reason)).ok()
}

/// Ids are hexadecimal texts in OTLP's JSON, unlike other bytes; absent ones are judged later.
fn ids(record: &Json) -> Result<(), String> {
    for (field, digits) in [("traceId", 32), ("spanId", 16), ("parentSpanId", 16)] {
        let Some(id) = record.get(field) else { continue };
        let is_hex = |text: &str| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !id.as_str().is_some_and(|text| text.is_empty() || is_hex(text)) {
            let excerpt: String = id.to_string().chars().take(64).collect();
            return Err(format!("{field} {excerpt} is not a text of {digits} hexadecimal digits"));
        }
    }
    Ok(())
}

fn read<T: DeserializeOwned>(json: Json) -> Result<T, String> {
    serde_json::from_value(json).map_err(|error| error.to_string())
}

/// Reads a metric point by point.
fn metric(json: Json, rejected: &mut Rejections) -> Option<Metric> {
    let Json::Object(mut object) = json else {
        rejected.add("a metric is no object");
        return None;
    };
    let mut data = None;
    for kind in ["gauge", "sum", "histogram", "exponentialHistogram", "summary"] {
        if let Some(found) = object.remove(kind) {
            data = Some((kind, found));
        }
    }
    let (kind, data) = data?;
    let points = data.get("dataPoints").and_then(Json::as_array).map_or(1, |points| points.len() as u64);
    let mut bad = Vec::new();
    let metric = read::<Metric>(Json::Object(object)).and_then(|metric| {
        let data = self::data(kind, data, &mut bad).map_err(|error| format!("`{}`: {error}", metric.name))?;
        Ok(Metric { data: Some(data), ..metric })
    });
    match metric {
        Ok(metric) => {
            for error in bad {
                rejected.add(format!("metric `{}`: a data point is malformed: {error}", metric.name));
            }
            Some(metric)
        }
        Err(error) => {
            rejected.add_many(points, format!("metric {error}"));
            None
        }
    }
}

/// Reads the points one by one, and says what is wrong with those that are bad.
fn data(kind: &str, json: Json, bad: &mut Vec<String>) -> Result<metric::Data, String> {
    let Json::Object(mut object) = json else { return Err(format!("`{kind}` is no object")) };
    let points = list(&mut object, "dataPoints").map_err(|refusal| refusal.to_string())?;
    let rest = Json::Object(object);
    Ok(match kind {
        "gauge" => metric::Data::Gauge(Gauge { data_points: each::<NumberDataPoint>(points, bad) }),
        "sum" => metric::Data::Sum(Sum { data_points: each::<NumberDataPoint>(points, bad), ..read(rest)? }),
        "histogram" => metric::Data::Histogram(Histogram {
            data_points: each::<HistogramDataPoint>(points, bad),
            ..read(rest)?
        }),
        "exponentialHistogram" => metric::Data::ExponentialHistogram(ExponentialHistogram {
            data_points: each::<ExponentialHistogramDataPoint>(points, bad),
            ..read(rest)?
        }),
        _ => metric::Data::Summary(Summary { data_points: each::<SummaryDataPoint>(points, bad) }),
    })
}

fn each<P: DeserializeOwned>(points: Vec<Json>, bad: &mut Vec<String>) -> Vec<P> {
    points.into_iter().filter_map(|point| read(point).map_err(|error| bad.push(error)).ok()).collect()
}

/// Fields that are numbers; protobuf's JSON mapping writes any of them as text, too.
const NUMBERS: &[&str] = &[
    "asDouble",
    "doubleValue",
    "droppedAttributesCount",
    "droppedEventsCount",
    "droppedLinksCount",
    "flags",
    "max",
    "min",
    "offset",
    "scale",
    "sum",
    "zeroThreshold",
];

/// Brings a request into the form that `opentelemetry-proto` reads. Names of fields are all that
/// can stand as keys: attributes are lists of pairs.
fn tidy(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(tidy),
        Json::Object(object) => {
            name_as_json(object);
            object.retain(|key, value| !is_nothing(key, value));
            for (key, value) in object.iter_mut() {
                tidy_field(key, value);
                tidy(value);
            }
            if let Some(text) = object.get("doubleValue").and_then(Json::as_str) {
                // NaN and infinities, which JSON can't write as numbers: kept as text.
                let text = Json::from(text);
                object.remove("doubleValue");
                object.insert("stringValue".into(), text);
            }
        }
        Json::Number(number) => {
            if let Some(whole) = whole(number) {
                *number = whole.into();
            }
        }
        Json::Null | Json::Bool(_) | Json::String(_) => {}
    }
}

/// Fields that have their names of protobuf, as in `span_id`, get those of JSON.
fn name_as_json(object: &mut Map<String, Json>) {
    let other: Vec<String> = object.keys().filter(|key| key.contains('_')).cloned().collect();
    for key in other {
        let mut words = key.split('_');
        let mut name = words.next().unwrap_or_default().to_owned();
        for word in words {
            let mut letters = word.chars();
            name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
            name.push_str(letters.as_str());
        }
        if let Some(value) = object.remove(&key) {
            object.entry(name).or_insert(value);
        }
    }
}

/// What counts as absent: null; exemplars, which are not kept; extremes that are no number.
fn is_nothing(key: &str, value: &Json) -> bool {
    value.is_null()
        || key == "exemplars"
        || (matches!(key, "min" | "max") && matches!(value.as_str(), Some("NaN" | "Infinity" | "-Infinity")))
}

/// An integer that was written as a float: `1.0`, `1.7e18`.
fn whole(number: &serde_json::Number) -> Option<i64> {
    let float = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0)?;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within the range of i64")]
    (float.abs() < 2_f64.powi(63) && !(float == 0.0 && float.is_sign_negative())).then_some(float as i64)
}

/// Base64 of either alphabet, padded or not, as padded base64 of the standard one.
fn standard_base64(text: &str) -> String {
    let digits = text.trim_end_matches('=').chars();
    let mut standard: String = digits
        .map(|digit| match digit {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    while !standard.len().is_multiple_of(4) {
        standard.push('=');
    }
    standard
}

fn tidy_field(key: &str, value: &mut Json) {
    match (key, &mut *value) {
        ("arrayValue" | "kvlistValue", Json::Object(list)) => {
            list.entry("values").or_insert_with(|| Json::Array(Vec::new()));
        }
        ("bytesValue", Json::String(text)) => *text = standard_base64(text),
        ("explicitBounds", Json::Array(bounds)) => bounds.iter_mut().for_each(number),
        (key, Json::String(_)) if NUMBERS.contains(&key) => number(value),
        ("kind", Json::String(name)) => named(SpanKind::from_str_name(name).map(i32::from), value),
        ("code", Json::String(name)) => named(StatusCode::from_str_name(name).map(i32::from), value),
        ("severityNumber", Json::String(name)) => {
            named(SeverityNumber::from_str_name(name).map(i32::from), value);
        }
        ("aggregationTemporality", Json::String(name)) => {
            named(AggregationTemporality::from_str_name(name).map(i32::from), value);
        }
        _ => {}
    }
}

/// A text that is a number becomes it.
fn number(value: &mut Json) {
    if let Some(read) = value.as_str().and_then(|text| text.parse::<serde_json::Number>().ok()) {
        *value = Json::Number(read);
    }
}

/// An enum by its name, or by its number as text.
fn named(found: Option<i32>, value: &mut Json) {
    match found {
        Some(code) => *value = code.into(),
        None => number(value),
    }
}
