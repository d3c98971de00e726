//! The sinks against a receiver that decodes with OpenTelemetry's own messages.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod contract;
mod decode;
mod https;
mod logs;
mod metrics;
mod support;
mod traces;
