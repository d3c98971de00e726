//! The time by which a purge decides what has expired: the system's clock, unless it has just jumped forward.
//!
//! A clock that is wrong for a few seconds must not delete everything. Queries hide what has expired by the system's clock,
//! so nobody sees old data meanwhile.

use std::time::{Duration, Instant};

use telemetry_core::Timestamp;

/// A clock that runs ahead of the monotonic clock by more than this has jumped.
const TOLERANCE: Duration = Duration::from_secs(60);

/// Compares the system's clock with the monotonic clock.
#[derive(Debug)]
pub(crate) struct DeletionClock {
    /// The latest time that was trusted, and when that was.
    trusted: (Timestamp, Instant),
    /// Since when the system's clock has been ahead.
    ahead_since: Option<Instant>,
    /// How long a clock that jumped must stay ahead until it is trusted.
    wait: Duration,
}

impl DeletionClock {
    pub(crate) const fn new(wait: Duration, system: Timestamp, monotonic: Instant) -> Self {
        Self { trusted: (system, monotonic), ahead_since: None, wait }
    }

    /// Returns the time by which data may be deleted.
    pub(crate) fn now(&mut self, system: Timestamp, monotonic: Instant) -> Timestamp {
        let (time, at) = self.trusted;
        let expected = time.saturating_add(monotonic.saturating_duration_since(at));
        if system > expected.saturating_add(TOLERANCE) {
            let since = *self.ahead_since.get_or_insert_with(|| {
                tracing::warn!(
                    seconds = system.since(expected).as_secs(),
                    wait = ?self.wait,
                    "sqlite: the system's clock jumped forward; expired data is hidden, and deleted only if the clock \
                     stays there"
                );
                monotonic
            });
            if monotonic.saturating_duration_since(since) < self.wait {
                return expected;
            }
        }
        self.ahead_since = None;
        self.trusted = (system, monotonic);
        system
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const MONTH: Duration = Duration::from_secs(30 * 86_400);

    #[test]
    fn a_jump_forward_is_trusted_only_after_the_wait() {
        let (start, started) = (Timestamp::from_nanos(1_700_000_000_000_000_000), Instant::now());
        let mut clock = DeletionClock::new(HOUR, start, started);
        let at = |seconds| Duration::from_secs(seconds);
        assert_eq!(clock.now(start.saturating_add(at(10)), started + at(10)), start.saturating_add(at(10)));
        let jumped = start.saturating_add(MONTH);
        for seconds in [20, 1_000, 3_500] {
            let now = clock.now(jumped.saturating_add(at(seconds)), started + at(seconds));
            assert_eq!(now, start.saturating_add(at(seconds)), "after {seconds} s");
        }
        let confirmed = jumped.saturating_add(at(3_620));
        assert_eq!(clock.now(confirmed, started + at(3_620)), confirmed);
    }

    #[test]
    fn a_clock_that_goes_back_in_time_is_trusted_at_once() {
        let (start, started) = (Timestamp::from_nanos(1_700_000_000_000_000_000), Instant::now());
        let mut clock = DeletionClock::new(HOUR, start, started);
        let at = |seconds| Duration::from_secs(seconds);
        clock.now(start.saturating_add(MONTH), started + at(3));
        let back = start.saturating_add(at(7));
        assert_eq!(clock.now(back, started + at(7)), back);
        let again = start.saturating_add(MONTH);
        let late = started + at(3_700);
        assert_eq!(clock.now(again, late), start.saturating_add(at(3_700)), "a second jump waits again");
    }
}
