//! Reading a request without storing it: what the fuzz target and its test do with every input.

use futures_util::FutureExt as _;
use telemetry_core::Timestamp;

use super::{Encoding, Refusal, Rejections, Streams, read_logs, read_metrics, read_traces};

/// What an OTLP request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpSignal {
    /// The body of `POST /v1/traces`.
    Traces,
    /// The body of `POST /v1/metrics`.
    Metrics,
    /// The body of `POST /v1/logs`.
    Logs,
}

/// How an OTLP request is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpEncoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

/// What the server would make of an OTLP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpReading {
    /// Records that would go to the sinks; of a cumulative stream what was added since its start.
    pub kept: usize,
    /// Spans, data points or log records that would be refused.
    pub rejected: u64,
    /// Why, each reason once; empty if nothing was rejected.
    pub reasons: String,
}

/// Reads an uncompressed OTLP request that arrives at `now` as the server does, and stores nothing. `limit` is
/// [`Limits::max_body_bytes`](crate::Limits::max_body_bytes).
///
/// # Errors
///
/// Why the request can't be read at all.
///
/// # Example
///
/// ```
/// use telemetry_core::Timestamp;
/// use telemetry_server::{OtlpEncoding, OtlpSignal, read_otlp};
///
/// let body = br#"{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "hi"}}]}]}]}"#;
/// let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
/// let read = read_otlp(OtlpSignal::Logs, OtlpEncoding::Json, body, 1_000, now)?;
/// assert_eq!((read.kept, read.rejected), (1, 0));
/// assert!(read_otlp(OtlpSignal::Logs, OtlpEncoding::Json, b"[]", 1_000, now).is_err());
/// # Ok::<(), String>(())
/// ```
pub fn read_otlp(
    signal: OtlpSignal,
    encoding: OtlpEncoding,
    body: &[u8],
    limit: usize,
    now: Timestamp,
) -> Result<OtlpReading, String> {
    let encoding = match encoding {
        OtlpEncoding::Protobuf => Encoding::Protobuf,
        OtlpEncoding::Json => Encoding::Json,
    };
    let mut rejected = Rejections::default();
    let kept = match signal {
        OtlpSignal::Traces => read_traces(encoding, body, limit, now, &mut rejected).map(|spans| spans.len()),
        OtlpSignal::Metrics => metrics(encoding, body, limit, now, &mut rejected),
        OtlpSignal::Logs => read_logs(encoding, body, limit, now, &mut rejected).map(|logs| logs.len()),
    };
    let kept = kept.map_err(|refusal| refusal.to_string())?;
    Ok(OtlpReading { kept, rejected: rejected.count(), reasons: rejected.message() })
}

fn metrics(
    encoding: Encoding,
    body: &[u8],
    limit: usize,
    now: Timestamp,
    rejected: &mut Rejections,
) -> Result<usize, Refusal> {
    let read = read_metrics(encoding, body, limit, now, rejected)?;
    let streams = Streams::default();
    // Without a store and with streams of its own there is nothing to wait for.
    let settled = streams.settle(read.cumulative, None).now_or_never().and_then(Result::ok);
    Ok(read.ready.len() + settled.map_or(0, |settled| settled.increments.len()))
}
