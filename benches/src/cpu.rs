//! Processor time: what something costs, whatever else runs on the machine.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Of this thread, so far.
pub(crate) fn of_thread() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Of all threads of the program, so far.
pub(crate) fn of_program() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
