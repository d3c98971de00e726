//! Waits for a condition with a deadline.

use std::time::{Duration, Instant};

/// How long a test waits for something that should happen at once.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Calls `ask` until it returns a value, for at most [`DEADLINE`].
///
/// # Errors
///
/// If the deadline passes; the message contains `what`.
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    eventually_within(DEADLINE, what, ask)
}

/// Calls `ask` until it returns a value, for at most `limit`.
///
/// # Errors
///
/// If the limit passes; the message contains `what`.
pub fn eventually_within<T>(
    limit: Duration,
    what: &str,
    mut ask: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    while started.elapsed() < limit {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    anyhow::bail!("timed out after {limit:?}: {what}")
}
