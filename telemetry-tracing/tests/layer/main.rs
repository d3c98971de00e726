//! The layer, before a pipeline that captures.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod concurrent;
mod log_records;
mod mixing;
mod support;
mod table;
