//! OTLP in: requests of OpenTelemetry SDKs and collectors become what the pipeline takes.
//!
//! A request passes four steps: [`body`] undoes the compression, [`weight`] judges what it would take
//! in memory, [`protobuf`] or [`json`] makes it [`Group`]s of records that
//! share a resource and a scope, and `traces`, `logs` or [`metrics`] map each record. A record that can't be kept is counted in [`Rejections`] with its reason; its
//! neighbours are kept. `docs/otlp-in.md` is the whole mapping as a table.

mod answer;
mod body;
mod dry_run;
mod json;
mod logs;
mod metrics;
mod protobuf;
mod streams;
mod traces;
mod value;
mod weight;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use telemetry_core::{Submission, Timestamp};

pub(crate) use answer::{accepted, in_kind, refused};
pub(crate) use body::{Compression, Encoding, Refusal};
pub use dry_run::{OtlpEncoding, OtlpReading, OtlpSignal, read_otlp};
pub(crate) use logs::read as read_logs;
pub(crate) use metrics::{Metrics, read as read_metrics};
pub(crate) use streams::Streams;
pub(crate) use traces::read as read_traces;
use value::Sender;

/// Records that share a resource and a scope.
#[derive(Debug)]
struct Group<R> {
    resource: Option<Resource>,
    scope: Option<InstrumentationScope>,
    records: Vec<R>,
}

/// What `read` makes of each record; a record that it can't read is rejected, its neighbours are kept.
fn each<R>(
    groups: Vec<Group<R>>,
    rejected: &mut Rejections,
    read: impl Fn(R, &Sender) -> Result<Submission, String>,
) -> Vec<Submission> {
    let mut submissions = Vec::with_capacity(groups.iter().map(|group| group.records.len()).sum());
    for Group { resource, scope, records } in groups {
        let sender = Sender::new(resource, scope);
        for record in records {
            match read(record, &sender) {
                Ok(submission) => submissions.push(submission),
                Err(reason) => rejected.add(reason),
            }
        }
    }
    submissions
}

/// What was not kept, and why: OTLP's partial success.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rejections {
    count: u64,
    reasons: Vec<String>,
}

/// Different reasons that an answer tells.
const MAX_REASONS: usize = 8;

impl Rejections {
    /// Counts one record.
    fn add(&mut self, reason: impl Into<String>) {
        self.add_many(1, reason);
    }

    /// Counts `count` records with the same reason.
    fn add_many(&mut self, count: u64, reason: impl Into<String>) {
        self.count += count;
        let reason = reason.into();
        if count > 0 && self.reasons.len() < MAX_REASONS && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// How many records were not kept.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// The reasons, each once.
    pub(crate) fn message(&self) -> String {
        self.reasons.join("; ")
    }
}

/// The time of a record: nanoseconds since 1970, zero meaning that it is not known.
fn time(field: &str, nanos: u64) -> Result<Option<Timestamp>, String> {
    if nanos == 0 {
        return Ok(None);
    }
    match i64::try_from(nanos) {
        Ok(nanos) => Ok(Some(Timestamp::from_nanos(nanos))),
        Err(_) => Err(format!("{field} {nanos} is after 2262-04-11")),
    }
}
