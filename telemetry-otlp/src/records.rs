//! Records of a request: grouped by their resource and scope, kept or rejected one by one.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use telemetry_core::{SpanId, Submission, Timestamp, TraceId};

use crate::attributes::{CopyBudget, ResourceAttributes, Sender, hex};

/// Records that share a resource.
#[derive(Debug)]
pub(crate) struct ResourceRecords<R> {
    pub(crate) resource: Option<Resource>,
    pub(crate) scopes: Vec<ScopeRecords<R>>,
}

/// Records that share a scope.
#[derive(Debug)]
pub(crate) struct ScopeRecords<R> {
    pub(crate) scope: Option<InstrumentationScope>,
    pub(crate) records: Vec<R>,
}

/// Calls `convert` for each record, with its sender.
pub(crate) fn for_each<R>(
    resources: Vec<ResourceRecords<R>>,
    budget: &CopyBudget,
    mut convert: impl FnMut(R, &Sender<'_>),
) {
    for ResourceRecords { resource, scopes } in resources {
        let resource = ResourceAttributes::new(resource);
        for ScopeRecords { scope, records } in scopes {
            let sender = Sender::new(&resource, scope, budget);
            for record in records {
                convert(record, &sender);
            }
        }
    }
}

/// Converts each record with `convert`. Rejects those that it can't convert, and keeps their neighbours.
pub(crate) fn convert_each<R>(
    resources: Vec<ResourceRecords<R>>,
    budget: &CopyBudget,
    rejections: &mut Rejections,
    convert: impl Fn(R, &Sender<'_>) -> Result<Submission, String>,
) -> Vec<Submission> {
    let scopes = resources.iter().flat_map(|resource| &resource.scopes);
    let mut submissions = Vec::with_capacity(scopes.map(|scope| scope.records.len()).sum());
    for_each(resources, budget, |record, sender| match convert(record, sender) {
        Ok(submission) => submissions.push(submission),
        Err(reason) => rejections.add(reason),
    });
    submissions
}

/// The records of a request that are not stored, and why: OTLP's partial success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejections {
    count: u64,
    reasons: Vec<String>,
}

/// Different reasons that an answer repeats.
const MAX_REASONS: usize = 8;

impl Rejections {
    /// Counts one record.
    pub(crate) fn add(&mut self, reason: impl Into<String>) {
        self.add_many(1, reason);
    }

    /// Counts `count` records with the same reason.
    pub(crate) fn add_many(&mut self, count: u64, reason: impl Into<String>) {
        self.count += count;
        let reason = reason.into();
        if count > 0 && self.reasons.len() < MAX_REASONS && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// Returns the number of rejected records.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the reasons, each once. Empty if no record was rejected.
    pub fn message(&self) -> String {
        self.reasons.join("; ")
    }
}

/// Converts the time of a record: nanoseconds since 1970, where zero means unknown.
pub(crate) fn time(field: &str, nanos: u64) -> Result<Option<Timestamp>, String> {
    if nanos == 0 {
        return Ok(None);
    }
    match i64::try_from(nanos) {
        Ok(nanos) => Ok(Some(Timestamp::from_nanos(nanos))),
        Err(_) => Err(format!("{field} {nanos} is after 2262-04-11")),
    }
}

/// Parses a trace id: 16 bytes, not all zero.
pub(crate) fn trace_id(bytes: &[u8]) -> Result<TraceId, String> {
    let id =
        <[u8; 16]>::try_from(bytes).ok().and_then(|bytes| TraceId::from_u128(u128::from_be_bytes(bytes)));
    id.ok_or_else(|| format!("invalid trace_id `{}`: expected 16 bytes, not all zero", hex(bytes)))
}

/// Parses a span id: 8 bytes, not all zero.
pub(crate) fn span_id(field: &str, bytes: &[u8]) -> Result<SpanId, String> {
    let id = <[u8; 8]>::try_from(bytes).ok().and_then(|bytes| SpanId::from_u64(u64::from_be_bytes(bytes)));
    id.ok_or_else(|| format!("invalid {field} `{}`: expected 8 bytes, not all zero", hex(bytes)))
}
