//! OTLP requests in, [`Submission`](telemetry_core::Submission)s out.
//!
//! This crate knows the messages of OTLP and no transport: a server hands it the bytes of a request and
//! sends back the bytes of the answer, whether they travel by HTTP or by gRPC.
//!
//! A request passes three steps. [`Compression::decompress`] undoes its compression. [`decode`] makes its
//! records into submissions; a record that can't be stored is counted in [`Rejections`] with its reason,
//! and its neighbours are kept. For metrics, [`Streams`] turns the points of cumulative streams into what
//! was added since the point before. [`export_response`] and [`error_response`] encode the answer.
//!
//! `docs/otlp-in.md` has the whole mapping as a table.
//!
//! # Example
//!
//! ```
//! use telemetry_core::{Submission, Timestamp};
//! use telemetry_otlp::{Encoding, OtlpSignal, decode, export_response};
//!
//! let body = br#"{"resourceLogs": [{"scopeLogs": [{"logRecords": [
//!     {"body": {"stringValue": "model loaded"}},
//!     {"body": {"stringValue": "no trace"}, "spanId": "eee19b7ec3c1b174"}
//! ]}]}]}"#;
//! let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
//! let decoded = decode(OtlpSignal::Logs, Encoding::Json, body, 16 << 20, now)?;
//! assert!(matches!(&decoded.submissions[..], [Submission::Log(_)]));
//! assert_eq!(decoded.rejections.count(), 1);
//! assert_eq!(decoded.rejections.message(), "a log has a span_id but no trace_id");
//!
//! let answer = export_response(OtlpSignal::Logs, Encoding::Json, &decoded.rejections);
//! assert!(answer.starts_with(br#"{"partialSuccess":{"rejectedLogRecords":"1""#));
//! # Ok::<(), telemetry_otlp::DecodeError>(())
//! ```

mod answer;
mod attributes;
mod decode;
mod expanded_size;
mod json;
mod logs;
mod metrics;
mod records;
mod request;
mod traces;

pub use answer::{error_response, export_response};
pub use decode::{Decoded, decode};
pub use metrics::{CumulativePoint, Increments, Streams};
pub use records::Rejections;
pub use request::{Compression, DecodeError, Encoding, OtlpSignal};
