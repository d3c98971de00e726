//! How sinks and stores are tested.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod capture;
pub mod contract;
mod driver;
mod faulty;
mod harness;
mod model;
mod ready_made;
pub mod signals;
pub mod store_kit;
mod workload;

pub use capture::{CaptureSink, DEADLINE, Seen};
pub use driver::{Driver, block_on};
pub use faulty::{FaultySink, Move, Script};
pub use harness::{Delivered, Harness, SERVICE_NAME};
pub use model::MemoryStore;
pub use ready_made::{READY_MADE, ready_made};
pub use workload::Workload;
