//! Tests the sinks with a receiver that decodes OTLP with OpenTelemetry's own message types.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod contract;
mod decode;
mod https;
mod logs;
mod metrics;
mod support;
mod traces;
