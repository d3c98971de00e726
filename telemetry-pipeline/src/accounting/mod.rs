//! Counts of what happened to every event and signal, and receipts for submissions.

mod counters;
mod ledger;
mod receipt;

pub(crate) use counters::{FullReason, IngestCounters, SinkCounters};
pub use ledger::{AssemblerCounts, IngestLedger, Ledger, SinkLedger, SinkState};
pub(crate) use receipt::{Ack, RejectedChunks, receipt};
pub use receipt::{NotStored, Receipt};
