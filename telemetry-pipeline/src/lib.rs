//! The machine.
pub mod assembler;
mod traceparent;
pub use traceparent::{TraceParent, TraceParentError};
