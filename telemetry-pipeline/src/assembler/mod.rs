//! Pairs starts and ends and emits signals, so that every sink sees the same spans.
//!
//! The assembler is pure and deterministic: it has no clock, no I/O and no threads, and the time of arrival
//! is a parameter. It invents nothing and forgets nothing: every submission becomes a signal, waits for
//! another one, or is refused and counted.

mod alias;
mod arrival_map;
mod ingest;
pub(crate) mod limits;
mod sampling;
mod state;
#[cfg(test)]
mod tests;

pub use crate::accounting::AssemblerCounts;
pub use limits::AssemblerConfig;
pub use sampling::{Sampling, SamplingError};
pub use state::Assembler;
