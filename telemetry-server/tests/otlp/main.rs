//! The OTLP receiver, asked through the same router that answers the queries.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::cast_possible_truncation, reason = "small whole numbers")]

mod hostile;
mod logs;
mod metrics;
mod support;
mod traces;
