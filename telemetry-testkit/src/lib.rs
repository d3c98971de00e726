//! How sinks and stores are tested.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod capture;
mod driver;
mod faulty;
mod ready_made;
mod workload;

pub use capture::{CaptureSink, DEADLINE, Seen};
pub use driver::{Driver, block_on};
pub use faulty::{FaultySink, Move, Script};
pub use ready_made::{READY_MADE, ready_made};
pub use workload::Workload;
