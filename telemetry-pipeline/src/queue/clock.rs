//! Time on the caller's side: a tick for each event. The wall time is computed later, on the assembler
//! thread.

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::Duration;

use fastant::Instant;
use telemetry_core::Timestamp;

/// How long a thread uses one reading of the wall clock. A tick costs half as much as a reading, and within
/// this time it is wrong by less than a microsecond.
const FRESH: Duration = Duration::from_millis(1);

/// Ticks are counted from here, so that their numbers are small enough to be exact as floating point numbers.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

thread_local! {
    static READING: Cell<Option<Reading>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Reading {
    epoch: Epoch,
    stale_at: Instant,
}

/// The wall time of the first tick, computed from one reading of the wall clock. Timestamps of one epoch have
/// the order of their ticks, even if the wall clock jumps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch(Timestamp);

impl Epoch {
    fn new(wall: Timestamp, tick: Instant) -> Self {
        Self(Timestamp::from_nanos(wall.as_nanos().saturating_sub(since_origin(tick))))
    }

    #[cold]
    fn read(tick: Instant) -> Self {
        let epoch = Self::new(Timestamp::now(), tick);
        READING.set(Some(Reading { epoch, stale_at: tick + FRESH }));
        epoch
    }

    /// Returns the current moment in this epoch.
    #[inline]
    pub(crate) fn moment(self) -> Moment {
        Moment { epoch: self, tick: Instant::now() }
    }
}

/// A tick and its epoch. Together they are a timestamp that is not computed yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) epoch: Epoch,
    pub(crate) tick: Instant,
}

impl Moment {
    /// Returns the current moment. It uses the thread's last reading of the wall clock, or makes a new one.
    #[inline]
    pub(crate) fn now() -> Self {
        let tick = Instant::now();
        match READING.get() {
            Some(Reading { epoch, stale_at }) if tick < stale_at => Self { epoch, tick },
            Some(_) | None => Self { epoch: Epoch::read(tick), tick },
        }
    }

    /// Returns this tick in an epoch that makes it exactly `timestamp`. Returns `None` if that epoch would be
    /// before the earliest timestamp.
    pub(crate) fn exactly(timestamp: Timestamp, tick: Instant) -> Option<Self> {
        let epoch = timestamp.as_nanos().checked_sub(since_origin(tick))?;
        Some(Self { epoch: Epoch(Timestamp::from_nanos(epoch)), tick })
    }

    /// Computes the wall time.
    pub(crate) fn timestamp(self) -> Timestamp {
        Timestamp::from_nanos(self.epoch.0.as_nanos().saturating_add(since_origin(self.tick)))
    }
}

/// Returns nanoseconds.
fn since_origin(tick: Instant) -> i64 {
    i64::try_from(tick.saturating_duration_since(*ORIGIN).as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_jumps_makes_no_duration_negative() {
        // The wall clock is not read again after the span has started.
        for wall in [i64::MIN, 0, i64::MAX - 1_000, i64::MAX] {
            let tick = Instant::now();
            let started = Moment { epoch: Epoch::new(Timestamp::from_nanos(wall), tick), tick };
            assert!(started.epoch.moment().timestamp() >= started.timestamp(), "{wall}");
        }
    }

    #[test]
    fn a_moment_is_the_wall_time_at_which_it_was_read() {
        let before = Timestamp::now();
        let now = Moment::now().timestamp();
        let after = Timestamp::now();
        assert!(before <= now.saturating_add(FRESH) && now <= after.saturating_add(FRESH), "{now:?}");
        let timestamp = Timestamp::from_nanos(1_234_567_890_123_456_789);
        let exactly = Moment::exactly(timestamp, Instant::now());
        assert_eq!(exactly.map(Moment::timestamp), Some(timestamp));
        assert!(Moment::exactly(Timestamp::from_nanos(i64::MIN), Instant::now() + FRESH).is_none());
    }
}
