//! The spans that the benches of SQLite store, and how they are submitted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;
use telemetry_core::{
    Attributes, Event, EventContext, Severity, SpanId, SpanKey, SpanStatus, Submission, Timestamp, TraceId,
    Ttl, attrs,
};
use telemetry_pipeline::{Receipt, Telemetry, random_span_id, random_trace_id};

/// Spans per trace.
pub(crate) const TRACE: usize = 10;
/// One large trace has this many spans. It begins with the span of this number.
pub(crate) const LARGE: usize = CONCURRENT * TRACE;
/// Spans per request, and per transaction of the plain rows.
pub(crate) const BATCH: usize = 2_000;
/// Spans in memory at a time.
pub(crate) const AT_ONCE: usize = 50_000;
/// Requests that wait for their receipts at the same time.
const WAITING: usize = 8;
/// How long a receipt may take.
const DEADLINE: Duration = Duration::from_secs(600);
/// The start of the first span, in nanoseconds.
pub(crate) const FIRST_TIME: i64 = 1_772_366_400_000_000_000;
/// Traces that are in progress at once. Their spans arrive in turn, as on a busy server.
const CONCURRENT: usize = 100;

/// A span as both sides store it, with about 235 bytes of attributes.
pub(crate) struct Sample {
    pub(crate) trace: u128,
    pub(crate) session: usize,
    pub(crate) id: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) start: i64,
}

/// Returns span `number`. Ids look random but are the same in every run.
pub(crate) fn sample(number: usize) -> Sample {
    let mix = |value: u64| {
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    let id = |number: usize| mix(number as u64 + 1);
    let root = root(number);
    Sample {
        trace: u128::from(mix(root as u64 + 7)) << 64 | u128::from(id(root)),
        session: root / (CONCURRENT * TRACE) * 10 + root % 10,
        id: id(number),
        parent: (number != root).then(|| id(root)),
        start: FIRST_TIME + i64::try_from(number).unwrap_or(0) * 1_000_000,
    }
}

/// Returns the number of the first span in the trace of span `number`.
pub(crate) const fn root(number: usize) -> usize {
    if number / LARGE == 1 {
        return LARGE;
    }
    number / (CONCURRENT * TRACE) * (CONCURRENT * TRACE) + number % CONCURRENT
}

/// Returns the attributes of span `number`.
pub(crate) fn attributes(number: usize) -> Attributes {
    attrs! {
        "session_id" => format!("session-{:012}", sample(number).session),
        "model_id" => "meta-llama/Llama-3.2-3B-Instruct",
        "request" => format!("request-{number:016}-{:032x}", sample(number).trace),
        "tokens" => i64::try_from(number % 4_096).unwrap_or(0),
        "output" => "The quick brown fox jumps over the lazy dog again",
    }
}

/// Returns the events of span `number`: start, log, end.
pub(crate) fn events(number: usize) -> [Event; 3] {
    let Sample { trace, id, parent, start, .. } = sample(number);
    let trace = TraceId::from_u128(trace).unwrap_or_else(random_trace_id);
    let span = SpanId::from_u64(id).unwrap_or_else(random_span_id);
    let begin = Event::span_start(trace, span, "inference").with_attributes(attributes(number));
    let begin = match parent.and_then(SpanId::from_u64) {
        Some(parent) => begin.with_parent(parent),
        None => begin,
    };
    let key = SpanKey::new(trace, span);
    let log = Event::log(Severity::Info, "prompt received").in_context(EventContext::Span(key));
    [
        begin.at(Timestamp::from_nanos(start)),
        log.at(Timestamp::from_nanos(start + 1_000)),
        Event::span_end(trace, span, SpanStatus::Ok).at(Timestamp::from_nanos(start + 900_000)),
    ]
}

/// Returns the submissions of the spans `from..to`.
pub(crate) fn submissions(from: usize, to: usize, ttl: Ttl) -> Vec<Submission> {
    (from..to).flat_map(events).map(|event| Submission::Event { event, ttl }).collect()
}

/// Submits requests, some of them ahead of their receipts, and waits for all receipts. Returns how long that took.
pub(crate) fn submit_all(
    telemetry: &Telemetry,
    requests: impl IntoIterator<Item = Vec<Submission>>,
) -> Result<Duration> {
    let started = Instant::now();
    let mut waiting = VecDeque::<Receipt>::new();
    for request in requests {
        if waiting.len() >= WAITING
            && let Some(receipt) = waiting.pop_front()
        {
            receipt.wait(DEADLINE)?;
        }
        waiting.push_back(telemetry.submit(request)?);
    }
    waiting.into_iter().try_for_each(|receipt| receipt.wait(DEADLINE))?;
    Ok(started.elapsed())
}
