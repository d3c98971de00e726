//! What a message takes in memory, found before it is decoded: two bytes on the wire can be a record
//! of hundreds, so that a bound on the bytes alone bounds nothing.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, SummaryDataPoint,
};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::Refusal;

/// Memory per byte of the largest body that a message may take. Ordinary requests take three to six
/// times their size.
const PER_BYTE: usize = 8;

/// A message of OTLP: the memory of one, and which of its fields are messages that can stand often.
struct Shape {
    memory: usize,
    fields: &'static [(u64, &'static Shape)],
}

macro_rules! shapes {
    ($($name:ident: $size:expr, [$($tag:literal => $field:ident),*];)+) => {
        $(static $name: Shape = Shape { memory: $size, fields: &[$(($tag, &$field)),*] };)+
    };
}

shapes! {
    TRACES: 0, [1 => RESOURCE_SPANS];
    METRICS: 0, [1 => RESOURCE_METRICS];
    LOGS: 0, [1 => RESOURCE_LOGS];
    RESOURCE_SPANS: size_of::<ResourceSpans>(), [1 => RESOURCE, 2 => SCOPE_SPANS];
    RESOURCE_METRICS: size_of::<ResourceMetrics>(), [1 => RESOURCE, 2 => SCOPE_METRICS];
    RESOURCE_LOGS: size_of::<ResourceLogs>(), [1 => RESOURCE, 2 => SCOPE_LOGS];
    SCOPE_SPANS: size_of::<ScopeSpans>(), [1 => SCOPE, 2 => SPAN];
    SCOPE_METRICS: size_of::<ScopeMetrics>(), [1 => SCOPE, 2 => METRIC];
    SCOPE_LOGS: size_of::<ScopeLogs>(), [1 => SCOPE, 2 => LOG];
    RESOURCE: 0, [1 => KEY_VALUE, 3 => ENTITY];
    ENTITY: 0, [3 => TEXT, 4 => TEXT];
    TEXT: size_of::<String>(), [];
    SCOPE: 0, [3 => KEY_VALUE];
    KEY_VALUE: size_of::<KeyValue>(), [2 => ANY];
    ANY: 0, [5 => LIST, 6 => MAP];
    LIST: 0, [1 => ITEM];
    ITEM: size_of::<AnyValue>(), [5 => LIST, 6 => MAP];
    MAP: 0, [1 => KEY_VALUE];
    SPAN: size_of::<Span>() + size_of::<telemetry_core::Span>(), [9 => KEY_VALUE, 11 => EVENT, 13 => LINK];
    EVENT: size_of::<Event>() + size_of::<telemetry_core::LogRecord>(), [3 => KEY_VALUE];
    LINK: size_of::<Link>() + 128, [4 => KEY_VALUE];
    LOG: size_of::<LogRecord>() + size_of::<telemetry_core::LogRecord>(), [5 => ANY, 6 => KEY_VALUE];
    METRIC: size_of::<Metric>(), [5 => NUMBERS, 7 => NUMBERS, 9 => HISTOGRAMS, 10 => EXPONENTIALS, 11 => SUMMARIES];
    NUMBERS: 0, [1 => NUMBER];
    HISTOGRAMS: 0, [1 => HISTOGRAM];
    EXPONENTIALS: 0, [1 => EXPONENTIAL];
    SUMMARIES: 0, [1 => SUMMARY];
    NUMBER: size_of::<NumberDataPoint>() + POINT, [7 => KEY_VALUE, 5 => EXEMPLAR];
    HISTOGRAM: size_of::<HistogramDataPoint>() + POINT, [9 => KEY_VALUE, 8 => EXEMPLAR];
    EXPONENTIAL: size_of::<ExponentialHistogramDataPoint>() + POINT, [1 => KEY_VALUE, 8 => BUCKETS, 9 => BUCKETS, 11 => EXEMPLAR];
    SUMMARY: size_of::<SummaryDataPoint>() + POINT, [7 => KEY_VALUE, 6 => QUANTILE];
    BUCKETS: size_of::<Buckets>(), [];
    QUANTILE: size_of::<ValueAtQuantile>() + POINT, [];
    EXEMPLAR: size_of::<Exemplar>(), [7 => KEY_VALUE];
}

const POINT: usize = size_of::<telemetry_core::MetricPoint>();

/// Refuses a request for traces that would take more memory than bodies of `limit` bytes may.
pub(super) fn of_traces(body: &[u8], limit: usize) -> Result<(), Refusal> {
    within(body, &TRACES, limit)
}

/// As [`of_traces`], for metrics.
pub(super) fn of_metrics(body: &[u8], limit: usize) -> Result<(), Refusal> {
    within(body, &METRICS, limit)
}

/// As [`of_traces`], for logs.
pub(super) fn of_logs(body: &[u8], limit: usize) -> Result<(), Refusal> {
    within(body, &LOGS, limit)
}

fn within(body: &[u8], shape: &Shape, limit: usize) -> Result<(), Refusal> {
    let mut left = limit.saturating_mul(PER_BYTE);
    if take(body, shape, DEEPEST, &mut left) { Ok(()) } else { Err(Refusal::TooMany) }
}

/// The decoder refuses what is nested more deeply than 100 levels; there is no need to walk further.
const DEEPEST: usize = 128;

/// Walks over a message; `false` once what is left is used up. What is no protobuf ends the walk: the
/// decoder says what is wrong with it, and by then has decoded no more than was walked over.
fn take(mut bytes: &[u8], shape: &Shape, levels: usize, left: &mut usize) -> bool {
    let Some(rest) = left.checked_sub(shape.memory) else { return false };
    *left = rest;
    while let Some(key) = varint(&mut bytes) {
        let skipped = match key & 7 {
            0 => varint(&mut bytes).map(|_| &[][..]),
            1 => skip(&mut bytes, 8),
            2 => varint(&mut bytes).and_then(|length| skip(&mut bytes, length)),
            5 => skip(&mut bytes, 4),
            _ => None,
        };
        let Some(value) = skipped else { return true };
        let field = shape.fields.iter().find(|(tag, _)| *tag == key >> 3);
        if let Some((_, shape)) = field.filter(|_| key & 7 == 2 && levels > 0)
            && !take(value, shape, levels - 1, left)
        {
            return false;
        }
    }
    true
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn skip<'a>(bytes: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (value, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(value)
}

/// Memory of a JSON value, about.
const JSON_VALUE: usize = 96;

/// Refuses JSON of more values than bodies of `limit` bytes may hold: each begins after one of `{[,:`.
pub(super) fn of_json(body: &[u8], limit: usize) -> Result<(), Refusal> {
    let most = limit.saturating_mul(PER_BYTE) / JSON_VALUE;
    let (mut values, mut in_text, mut escaped) = (0_usize, false, false);
    for &byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' | b',' | b':' if !in_text => values += 1,
            _ => {}
        }
    }
    if values > most { Err(Refusal::TooMany) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` empty messages of field `path[0]`, in one of field `path[1]`, in one of …
    fn nested(path: &[u8], count: usize) -> Vec<u8> {
        let mut body = [path[0] << 3 | 2, 0].repeat(count);
        for tag in &path[1..] {
            let mut outer = vec![tag << 3 | 2];
            prost::encode_length_delimiter(body.len(), &mut outer).unwrap();
            outer.append(&mut body);
            body = outer;
        }
        body
    }

    #[test]
    fn records_of_two_bytes_are_too_many_long_before_the_body_is_too_large() {
        const LIMIT: usize = 1 << 20;
        // Spans; attributes, events and links of one span; items of a list.
        for path in [&[2, 2, 1][..], &[9, 2, 2, 1], &[11, 2, 2, 1], &[13, 2, 2, 1], &[1, 5, 2, 9, 2, 2, 1]] {
            let body = nested(path, LIMIT / 4);
            assert_eq!(of_traces(&body, LIMIT), Err(Refusal::TooMany), "{path:?}");
            assert_eq!(of_traces(&nested(path, 100), LIMIT), Ok(()), "{path:?}");
        }
        assert_eq!(of_metrics(&nested(&[1, 5, 2, 2, 1], LIMIT / 4), LIMIT), Err(Refusal::TooMany));
        assert_eq!(of_logs(&nested(&[2, 2, 1], LIMIT / 4), LIMIT), Err(Refusal::TooMany));
    }

    #[test]
    fn json_of_empty_values_is_too_much_and_commas_in_a_text_are_not() {
        const LIMIT: usize = 1 << 20;
        let empty = format!("[{}0]", "[],".repeat(LIMIT / 4));
        assert_eq!(of_json(empty.as_bytes(), LIMIT), Err(Refusal::TooMany));
        let text = format!("[\"{}\\\"{}\"]", ",".repeat(LIMIT / 2), "[".repeat(LIMIT / 2));
        assert_eq!(of_json(text.as_bytes(), LIMIT), Ok(()));
    }

    #[test]
    fn what_is_no_protobuf_is_the_decoder_s() {
        for body in [&[0xff; 64][..], &[0x0a], &[0x0a, 0x7f], &[0x0b], b"{}"] {
            assert_eq!(of_traces(body, 1_024), Ok(()), "{body:?}");
        }
    }
}
