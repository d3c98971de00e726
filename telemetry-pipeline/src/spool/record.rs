//! The file format. A segment is a magic number and records. A record is a header and a payload.
//!
//! | Bytes of a header | Content, little-endian |
//! |---|---|
//! | 0–3 | length of the payload |
//! | 4–7 | signals in the payload |
//! | 8–15 | the number of the first of them |
//! | 16–23 | XXH3 of the payload |
//! | 24–31 | XXH3 of bytes 0–23 |
//!
//! The payload is a line of JSON per signal, so that a person can read it. Signals are numbered without gaps
//! over all segments and runs, so the number of missing signals is known exactly.

use telemetry_core::Signal;
use xxhash_rust::xxh3::xxh3_64;

/// The first bytes of every segment. The digit at the end is the version of the format.
pub(super) const MAGIC: [u8; 8] = *b"TELSPL1\n";
/// The first bytes in all versions.
pub(super) const ANY_VERSION: &[u8] = b"TELSPL";
/// Bytes per header.
pub(super) const HEADER: usize = 32;

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) length: u32,
    pub(super) signals: u32,
    pub(super) first: u64,
    pub(super) sum: u64,
}

impl Header {
    fn write(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.signals.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sum.to_le_bytes());
        let sum = xxh3_64(&bytes[..24]);
        bytes[24..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header. Returns `None` if it is damaged.
    pub(super) fn read(bytes: &[u8; HEADER]) -> Option<Self> {
        let sum_is_right = xxh3_64(&bytes[..24]) == number(&bytes[24..32]);
        sum_is_right.then(|| Self {
            length: u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            signals: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            first: number(&bytes[8..16]),
            sum: number(&bytes[16..24]),
        })
    }

    /// Returns the bytes of the whole record.
    pub(super) const fn record_length(self) -> u64 {
        HEADER as u64 + self.length as u64
    }

    /// Reads the signals in `payload`. Returns `None` if it is damaged.
    pub(super) fn signals(self, payload: &[u8]) -> Option<Vec<Signal>> {
        if xxh3_64(payload) != self.sum {
            return None;
        }
        let lines = payload.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let signals: Vec<Signal> = lines.map(serde_json::from_slice).collect::<Result<_, _>>().ok()?;
        (signals.len() == self.signals as usize).then_some(signals)
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Appends records of `signals` to `buffer`. `first` is the number of the first signal. A record ends once
/// its payload exceeds `payload_bytes`. Returns the number of signals.
pub(super) fn encode<'a>(
    signals: impl Iterator<Item = &'a Signal>,
    first: u64,
    payload_bytes: usize,
    buffer: &mut Vec<u8>,
) -> serde_json::Result<u64> {
    let mut written = 0;
    let mut signals = signals.peekable();
    while signals.peek().is_some() {
        let at = buffer.len();
        buffer.extend([0; HEADER]);
        let mut in_record = 0;
        while buffer.len() - at < HEADER + payload_bytes
            && let Some(signal) = signals.next()
        {
            serde_json::to_writer(&mut *buffer, signal)?;
            buffer.push(b'\n');
            in_record += 1;
        }
        let payload = &buffer[at + HEADER..];
        let length = u32::try_from(payload.len())
            .map_err(|_| serde::ser::Error::custom("a signal is larger than 4 GiB"))?;
        let header = Header { length, signals: in_record, first: first + written, sum: xxh3_64(payload) };
        buffer[at..at + HEADER].copy_from_slice(&header.write());
        written += u64::from(in_record);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use telemetry_core::{
        EventContext, LogBody, LogRecord, MetricKind, MetricPoint, MetricValue, Severity, Span, SpanEvent,
        SpanId, SpanKey, SpanKind, SpanState, SpanStatus, StreamMark, Timestamp, TraceId, Ttl, Value,
        WaitingEnd, attrs,
    };

    fn every_kind_of_signal() -> Vec<Signal> {
        let key = SpanKey::new(TraceId::from_u128(u128::MAX).unwrap(), SpanId::from_u64(1).unwrap());
        let late = Timestamp::from_nanos(i64::MAX);
        let ttl = Ttl::from_seconds(u64::MAX).unwrap();
        let attributes = attrs! {
            "int" => 7, "float" => 7.0, "tiny" => 5e-324, "text" => "ü\u{0}\n\"🦙", "yes" => true, "null" => Value::Null,
            "" => i64::MIN, "zero" => -0.0,
        };
        let log = Arc::new(LogRecord {
            context: EventContext::Span(key),
            timestamp: Timestamp::from_nanos(-1),
            body: LogBody::Message { severity: Severity::Critical, message: "a\nb".into() },
            attributes: attributes.clone(),
            service_name: Some("other".into()),
            arrived: late,
            ttl,
        });
        let metric = Arc::new(MetricPoint {
            context: EventContext::Trace(key.trace_id),
            timestamp: Timestamp::from_nanos(i64::MIN),
            name: "tokens".into(),
            value: MetricValue::Float(7.0),
            unit: "s".into(),
            kind: Some(MetricKind::UpDownCounter),
            attributes: attributes.clone(),
            service_name: None,
            arrived: late,
            ttl,
            stream: Some(Arc::new(StreamMark { stream: u128::MAX, state: "{}".into() })),
        });
        let span = Span {
            parent_span_id: SpanId::from_u64(u64::MAX),
            kind: SpanKind::Consumer,
            end_time: Some(late),
            status: Some(SpanStatus::Error),
            attributes: attributes.clone(),
            events: vec![SpanEvent::Log(Arc::clone(&log)), SpanEvent::Metric(Arc::clone(&metric))],
            trace_state: Some("a=b".into()),
            local_root: true,
            submitted_trace_id: TraceId::from_u128(1),
            state: SpanState::Unfinished,
            dropped_attributes_count: 1,
            dropped_events_count: u32::MAX,
            ttl,
            ..Span::open(key, "n", Timestamp::from_nanos(1))
        };
        let end = WaitingEnd {
            key,
            end_time: late,
            status: SpanStatus::Ok,
            attributes,
            arrived: late,
            ttl: Ttl::default(),
        };
        vec![
            Signal::SpanStarted(Arc::new(Span::open(key, "", late))),
            Signal::SpanEnded(Arc::new(span)),
            Signal::EndWaiting(Arc::new(end)),
            Signal::Log(log),
            Signal::Metric(metric),
        ]
    }

    fn records(mut bytes: &[u8]) -> Vec<(Header, Option<Vec<Signal>>)> {
        let mut found = Vec::new();
        while let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() {
            let header = Header::read(header).unwrap();
            let (payload, rest) = rest.split_at(header.length as usize);
            found.push((header, header.signals(payload)));
            bytes = rest;
        }
        found
    }

    #[test]
    fn every_signal_is_read_as_it_was_written() {
        let signals = every_kind_of_signal();
        let mut buffer = Vec::new();
        assert_eq!(encode(signals.iter(), 5, 1 << 20, &mut buffer).unwrap(), 5);
        let records = records(&buffer);
        assert_eq!(records[0].0.first, 5);
        assert_eq!(records[0].1.as_ref(), Some(&signals));
    }

    #[test]
    fn a_large_batch_becomes_several_records() {
        let signals = every_kind_of_signal();
        let mut buffer = Vec::new();
        encode(signals.iter(), 0, 1, &mut buffer).unwrap();
        let firsts: Vec<u64> = records(&buffer).iter().map(|(header, _)| header.first).collect();
        assert_eq!(firsts, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn any_flipped_bit_is_detected() {
        let signals = every_kind_of_signal();
        let mut buffer = Vec::new();
        encode(signals[3..4].iter(), 0, 1 << 20, &mut buffer).unwrap();
        for at in 0..buffer.len() {
            let mut damaged = buffer.clone();
            damaged[at] ^= 1;
            let (header, payload) = damaged.split_first_chunk::<HEADER>().unwrap();
            let read = Header::read(header).and_then(|header| header.signals(payload));
            assert_eq!(read, None, "byte {at}");
        }
    }
}
