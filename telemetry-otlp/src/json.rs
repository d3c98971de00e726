//! Requests in JSON. Records are parsed one by one, so that a malformed one does not cost its neighbours.
//!
//! `opentelemetry-proto` parses a record, but it accepts one form only. [`normalize`] first converts the
//! other forms that protobuf's JSON mapping allows: null for an absent field, field names in snake case,
//! numbers as text, integers as floats, bytes in either base64 alphabet, enums by name, and a list
//! without `values`.

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

use crate::records::{Rejections, ResourceRecords, ScopeRecords};
use crate::request::{DecodeError, OtlpSignal};

/// The field names of a request's three levels.
struct Levels {
    resources: &'static str,
    scopes: &'static str,
    records: &'static str,
}

impl Levels {
    const fn of(signal: OtlpSignal) -> Self {
        match signal {
            OtlpSignal::Traces => Self { resources: "resourceSpans", scopes: "scopeSpans", records: "spans" },
            OtlpSignal::Metrics => {
                Self { resources: "resourceMetrics", scopes: "scopeMetrics", records: "metrics" }
            }
            OtlpSignal::Logs => {
                Self { resources: "resourceLogs", scopes: "scopeLogs", records: "logRecords" }
            }
        }
    }
}

pub(crate) fn spans(
    body: &[u8],
    rejections: &mut Rejections,
) -> Result<Vec<ResourceRecords<Span>>, DecodeError> {
    resources(body, OtlpSignal::Traces, rejections, |span, rejections| record("span", span, rejections))
}

pub(crate) fn logs(
    body: &[u8],
    rejections: &mut Rejections,
) -> Result<Vec<ResourceRecords<LogRecord>>, DecodeError> {
    resources(body, OtlpSignal::Logs, rejections, |log, rejections| record("log record", log, rejections))
}

pub(crate) fn metrics(
    body: &[u8],
    rejections: &mut Rejections,
) -> Result<Vec<ResourceRecords<Metric>>, DecodeError> {
    resources(body, OtlpSignal::Metrics, rejections, metric)
}

/// Walks down to the records and parses each with `record`.
fn resources<R>(
    body: &[u8],
    signal: OtlpSignal,
    rejections: &mut Rejections,
    record: impl Fn(Json, &mut Rejections) -> Option<R>,
) -> Result<Vec<ResourceRecords<R>>, DecodeError> {
    let mut request: Json = serde_json::from_slice(body)
        .map_err(|error| DecodeError::Malformed(format!("the body is not JSON: {error}")))?;
    normalize(&mut request);
    let Json::Object(mut request) = request else {
        return Err(DecodeError::Malformed("the body is not a JSON object".into()));
    };
    let levels = Levels::of(signal);
    if !request.contains_key(levels.resources) {
        for other in OtlpSignal::ALL {
            let resources = Levels::of(other).resources;
            if request.contains_key(resources) {
                let text = format!("the body contains `{resources}`; post it to {}", other.path());
                return Err(DecodeError::Malformed(text));
            }
        }
    }
    let mut resources = Vec::new();
    for mut resource in objects(&mut request, levels.resources)? {
        let mut scopes = Vec::new();
        let of_scopes = objects(&mut resource, levels.scopes)?;
        let resource = part::<Resource>(&mut resource, "resource");
        for mut scope in of_scopes {
            let records = list(&mut scope, levels.records)?;
            match (&resource, part::<InstrumentationScope>(&mut scope, "scope")) {
                (Ok(_), Ok(scope)) => {
                    let records = records.into_iter().filter_map(|item| record(item, rejections)).collect();
                    scopes.push(ScopeRecords { scope, records });
                }
                (Err(error), _) => rejections.add_many(records.len() as u64, format!("resource: {error}")),
                (_, Err(error)) => rejections.add_many(records.len() as u64, format!("scope: {error}")),
            }
        }
        if let Ok(resource) = resource {
            resources.push(ResourceRecords { resource, scopes });
        }
    }
    Ok(resources)
}

/// Removes a list from an object. An absent one is empty.
fn list(object: &mut Map<String, Json>, key: &str) -> Result<Vec<Json>, DecodeError> {
    match object.remove(key) {
        None => Ok(Vec::new()),
        Some(Json::Array(items)) => Ok(items),
        Some(_) => Err(DecodeError::Malformed(format!("`{key}` is not a list"))),
    }
}

/// Removes a list of objects from an object.
fn objects(object: &mut Map<String, Json>, key: &str) -> Result<Vec<Map<String, Json>>, DecodeError> {
    let object_of = |item| match item {
        Json::Object(object) => Ok(object),
        _ => Err(DecodeError::Malformed(format!("`{key}` contains an item that is not an object"))),
    };
    list(object, key)?.into_iter().map(object_of).collect()
}

/// Removes and parses one field of an object.
fn part<T: DeserializeOwned>(object: &mut Map<String, Json>, key: &str) -> Result<Option<T>, String> {
    object.remove(key).map(parse).transpose()
}

/// Parses a span or a log record.
fn record<T: DeserializeOwned>(what: &str, json: Json, rejections: &mut Rejections) -> Option<T> {
    let record = check_ids(&json)
        .and_then(|()| parse(json).map_err(|error| format!("a {what} is malformed: {error}")));
    record.map_err(|reason| rejections.add(reason)).ok()
}

/// Checks that ids are hexadecimal text: in OTLP's JSON, only other bytes are base64. An absent id passes,
/// because the conversion of the record checks that later.
fn check_ids(record: &Json) -> Result<(), String> {
    for (field, digits) in [("traceId", 32), ("spanId", 16), ("parentSpanId", 16)] {
        let Some(id) = record.get(field) else { continue };
        let is_hex = |text: &str| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !id.as_str().is_some_and(|text| text.is_empty() || is_hex(text)) {
            let excerpt: String = id.to_string().chars().take(64).collect();
            return Err(format!("invalid {field} {excerpt}: expected text of {digits} hexadecimal digits"));
        }
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(json: Json) -> Result<T, String> {
    serde_json::from_value(json).map_err(|error| error.to_string())
}

/// Parses a metric point by point.
fn metric(json: Json, rejections: &mut Rejections) -> Option<Metric> {
    let Json::Object(mut object) = json else {
        rejections.add("a metric is not an object");
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
    let mut errors = Vec::new();
    let metric = parse::<Metric>(Json::Object(object)).and_then(|metric| {
        let data =
            self::data(kind, data, &mut errors).map_err(|error| format!("`{}`: {error}", metric.name))?;
        Ok(Metric { data: Some(data), ..metric })
    });
    match metric {
        Ok(metric) => {
            for error in errors {
                rejections.add(format!("metric `{}`: a data point is malformed: {error}", metric.name));
            }
            Some(metric)
        }
        Err(error) => {
            rejections.add_many(points, format!("metric {error}"));
            None
        }
    }
}

/// Parses the points one by one, and adds an error for each malformed one.
fn data(kind: &str, json: Json, errors: &mut Vec<String>) -> Result<metric::Data, String> {
    let Json::Object(mut object) = json else { return Err(format!("`{kind}` is not an object")) };
    let points = list(&mut object, "dataPoints").map_err(|error| error.to_string())?;
    let rest = Json::Object(object);
    Ok(match kind {
        "gauge" => metric::Data::Gauge(Gauge { data_points: each::<NumberDataPoint>(points, errors) }),
        "sum" => {
            metric::Data::Sum(Sum { data_points: each::<NumberDataPoint>(points, errors), ..parse(rest)? })
        }
        "histogram" => metric::Data::Histogram(Histogram {
            data_points: each::<HistogramDataPoint>(points, errors),
            ..parse(rest)?
        }),
        "exponentialHistogram" => metric::Data::ExponentialHistogram(ExponentialHistogram {
            data_points: each::<ExponentialHistogramDataPoint>(points, errors),
            ..parse(rest)?
        }),
        _ => metric::Data::Summary(Summary { data_points: each::<SummaryDataPoint>(points, errors) }),
    })
}

fn each<P: DeserializeOwned>(points: Vec<Json>, errors: &mut Vec<String>) -> Vec<P> {
    points.into_iter().filter_map(|point| parse(point).map_err(|error| errors.push(error)).ok()).collect()
}

/// Number fields. Protobuf's JSON mapping allows text for each of them.
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

/// Converts a request to the form that `opentelemetry-proto` parses. Every key of an object is a field name,
/// because attributes are lists of pairs.
fn normalize(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(normalize),
        Json::Object(object) => {
            rename_fields(object);
            object.retain(|key, value| !is_absent(key, value));
            for (key, value) in object.iter_mut() {
                normalize_field(key, value);
                normalize(value);
            }
            if let Some(text) = object.get("doubleValue").and_then(Json::as_str) {
                // NaN and infinities are kept as text, because JSON has no numbers for them.
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

/// Renames fields from snake case to camel case: `span_id` to `spanId`.
fn rename_fields(object: &mut Map<String, Json>) {
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

/// Returns true for a field that counts as absent: null, exemplars (not stored), and a minimum or maximum
/// that is not a number.
fn is_absent(key: &str, value: &Json) -> bool {
    value.is_null()
        || key == "exemplars"
        || (matches!(key, "min" | "max") && matches!(value.as_str(), Some("NaN" | "Infinity" | "-Infinity")))
}

/// Returns the integer that was written as a float: `1.0`, `1.7e18`.
fn whole(number: &serde_json::Number) -> Option<i64> {
    let float = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0)?;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within the range of i64")]
    (float.abs() < 2_f64.powi(63) && !(float == 0.0 && float.is_sign_negative())).then_some(float as i64)
}

/// Converts base64 of either alphabet, padded or not, to padded base64 of the standard alphabet.
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

/// Normalizes the value of one field.
fn normalize_field(key: &str, value: &mut Json) {
    match (key, &mut *value) {
        ("arrayValue" | "kvlistValue", Json::Object(list)) => {
            list.entry("values").or_insert_with(|| Json::Array(Vec::new()));
        }
        ("bytesValue", Json::String(text)) => *text = standard_base64(text),
        ("explicitBounds", Json::Array(bounds)) => bounds.iter_mut().for_each(parse_number),
        (key, Json::String(_)) if NUMBERS.contains(&key) => parse_number(value),
        ("kind", Json::String(name)) => parse_enum(SpanKind::from_str_name(name).map(i32::from), value),
        ("code", Json::String(name)) => parse_enum(StatusCode::from_str_name(name).map(i32::from), value),
        ("severityNumber", Json::String(name)) => {
            parse_enum(SeverityNumber::from_str_name(name).map(i32::from), value);
        }
        ("aggregationTemporality", Json::String(name)) => {
            parse_enum(AggregationTemporality::from_str_name(name).map(i32::from), value);
        }
        _ => {}
    }
}

/// Replaces text that is a number by the number.
fn parse_number(value: &mut Json) {
    if let Some(read) = value.as_str().and_then(|text| text.parse::<serde_json::Number>().ok()) {
        *value = Json::Number(read);
    }
}

/// Replaces the name of an enum value by its number `found`. Without one, the text may be a number.
fn parse_enum(found: Option<i32>, value: &mut Json) {
    match found {
        Some(code) => *value = code.into(),
        None => parse_number(value),
    }
}
