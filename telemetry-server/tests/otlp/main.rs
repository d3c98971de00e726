//! The OTLP receiver: records are sent and queried through one router.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::cast_possible_truncation, reason = "small whole numbers")]

mod hostile;
mod logs;
mod metrics;
mod support;
mod traces;
