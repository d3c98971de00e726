//! The layers around real servers and around services that end in every way a request can end.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod axum_server;
mod ends;
mod hyper_server;
mod spans;
mod stage;
mod tonic_server;
