//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// How long a test waits for what should happen at once.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Asks until there is an answer; fails with `what` after [`DEADLINE`].
///
/// # Errors
///
/// When the deadline passes.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let started = Instant::now();
    while started.elapsed() < DEADLINE {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    anyhow::bail!("not within {DEADLINE:?}: {what}")
}
