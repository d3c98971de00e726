//! The layers around real servers, and around services that end requests in every possible way.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod axum_server;
mod ends;
mod hyper_server;
mod spans;
mod support;
mod tonic_server;
