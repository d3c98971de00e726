//! Processor time, and the line that a bench prints per figure.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Returns the processor time of this thread. Other work of the machine does not change it.
pub(crate) fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Returns the processor time of all threads of the program.
pub(crate) fn program_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Prints a figure, the peer or limit beside it, and their ratio. `what` includes the promise, if there is one.
pub(crate) fn line(what: &str, figure: f64, unit: &str, anchor_name: &str, anchor: f64) {
    let ratio = figure / anchor;
    println!("{what:<58} {figure:>12.1} {unit:<9} {anchor_name:<22} {anchor:>12.1}  ratio {ratio:.2}");
}
