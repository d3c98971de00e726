//! The contract of [`telemetry_core::Sink`]: one case per clause.
//!
//! [`sink_contract!`](crate::sink_contract) makes one `#[test]` per clause for the sink that a
//! [`Harness`](crate::Harness) describes. A clause that does not apply to a sink is declared with a reason. The test
//! run reports it as *ignored* with that reason, never as passed.
//!
//! Each case fails for its own clause only and ignores what other clauses cover. The testkit's own tests check this
//! with one broken sink per clause.

mod building;
mod compare;
mod delivery;
mod faults;
mod input;
mod log_capture;
mod sink_under_test;
mod suite;
mod verdict;

pub use building::{c10_independence, c13_interest, c14_options, c15_secrets};
pub use delivery::{c1_lifecycle, c2_order, c3_once, c4_fidelity, c5_empty, c6_flush, c7_shutdown};
pub use faults::{c8_cancel, c9_retry, c11_outage, c12_recovery};
pub use suite::violations;
pub use verdict::{Verdict, check, run};
