//! The layer with a pipeline that captures what it delivers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod concurrent;
mod interoperation;
mod mapping;
mod support;
