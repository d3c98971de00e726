//! Estimates the memory of a decoded request before it is decoded: two bytes on the wire can be a record of
//! hundreds of bytes, so a limit on the size of the body does not limit the memory.

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

use crate::request::{DecodeError, Encoding, OtlpSignal};

/// Memory that a decoded request may take, as a multiple of the largest body. Ordinary requests take three to
/// six times their size.
const FACTOR: usize = 8;

/// Returns the memory that a decoded request may take.
pub(crate) const fn max_memory(max_body_bytes: usize) -> usize {
    max_body_bytes.saturating_mul(FACTOR)
}

/// Checks that a decoded request takes no more than [`max_memory`].
pub(crate) fn check(
    signal: OtlpSignal,
    encoding: Encoding,
    body: &[u8],
    max_body_bytes: usize,
) -> Result<(), DecodeError> {
    let max_memory = max_memory(max_body_bytes);
    let fits = match encoding {
        Encoding::Protobuf => {
            let shape = match signal {
                OtlpSignal::Traces => &TRACES,
                OtlpSignal::Metrics => &METRICS,
                OtlpSignal::Logs => &LOGS,
            };
            message_fits(body, shape, MAX_DEPTH, &mut { max_memory })
        }
        Encoding::Json => json_values(body) <= max_memory / JSON_VALUE,
    };
    if fits { Ok(()) } else { Err(DecodeError::TooManyRecords) }
}

/// An OTLP message type: the memory of one message, and its fields that are repeated messages or contain such.
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

/// The decoder rejects messages nested more deeply than 100 levels, so there is no need to walk further.
const MAX_DEPTH: usize = 128;

/// Walks over a message and subtracts its memory from `left`. Returns false once `left` is too small.
///
/// Stops at the first byte that is not valid protobuf: the decoder reports what is wrong there, and decodes
/// no more than what was walked over.
fn message_fits(mut bytes: &[u8], shape: &Shape, levels: usize, left: &mut usize) -> bool {
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
            && !message_fits(value, shape, levels - 1, left)
        {
            return false;
        }
    }
    true
}

/// Reads a varint. Returns `None` at the end and for one that is too long.
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

/// Reads `length` bytes. Returns `None` if there are fewer.
fn skip<'a>(bytes: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (value, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(value)
}

/// Approximate memory of a JSON value.
const JSON_VALUE: usize = 96;

/// Counts the values of a JSON text: each begins after one of `{[,:`.
fn json_values(body: &[u8]) -> usize {
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
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    fn protobuf(signal: OtlpSignal, body: &[u8]) -> Result<(), DecodeError> {
        check(signal, Encoding::Protobuf, body, LIMIT)
    }

    fn json(body: &[u8]) -> Result<(), DecodeError> {
        check(OtlpSignal::Logs, Encoding::Json, body, LIMIT)
    }

    /// Returns `count` empty messages of field `path[0]`, in one of field `path[1]`, and so on.
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
        let (too_many, traces) = (Err(DecodeError::TooManyRecords), OtlpSignal::Traces);
        // Spans; attributes, events and links of one span; items of a list.
        for path in [&[2, 2, 1][..], &[9, 2, 2, 1], &[11, 2, 2, 1], &[13, 2, 2, 1], &[1, 5, 2, 9, 2, 2, 1]] {
            assert_eq!(protobuf(traces, &nested(path, LIMIT / 4)), too_many, "{path:?}");
            assert_eq!(protobuf(traces, &nested(path, 100)), Ok(()), "{path:?}");
        }
        assert_eq!(protobuf(OtlpSignal::Metrics, &nested(&[1, 5, 2, 2, 1], LIMIT / 4)), too_many);
        assert_eq!(protobuf(OtlpSignal::Logs, &nested(&[2, 2, 1], LIMIT / 4)), too_many);
    }

    #[test]
    fn empty_json_values_are_counted_and_commas_in_a_text_are_not() {
        let empty = format!("[{}0]", "[],".repeat(LIMIT / 4));
        assert_eq!(json(empty.as_bytes()), Err(DecodeError::TooManyRecords));
        let text = format!("[\"{}\\\"{}\"]", ",".repeat(LIMIT / 2), "[".repeat(LIMIT / 2));
        assert_eq!(json(text.as_bytes()), Ok(()));
    }

    #[test]
    fn invalid_protobuf_is_left_to_the_decoder() {
        for body in [&[0xff; 64][..], &[0x0a], &[0x0a, 0x7f], &[0x0b], b"{}"] {
            assert_eq!(protobuf(OtlpSignal::Traces, body), Ok(()), "{body:?}");
        }
    }
}
