//! Time for span guards: wall time once, then elapsed ticks, so that no duration is negative.

use std::cell::Cell;
use std::time::Duration;

use fastant::Instant;
use telemetry_core::Timestamp;

/// How long one reading of the wall clock serves its thread. Ticks cost a third of it, and stray from
/// it by less than a microsecond in this time.
const FRESH: Duration = Duration::from_millis(1);

thread_local! {
    static READING: Cell<Option<Anchor>> = const { Cell::new(None) };
}

/// A point of wall time and the tick it was read at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    wall: Timestamp,
    tick: Instant,
}

impl Anchor {
    /// The time now: the thread's last reading plus what has elapsed, or a new reading.
    pub(crate) fn now() -> Self {
        let tick = Instant::now();
        if let Some(reading) = READING.get() {
            let elapsed = tick.saturating_duration_since(reading.tick);
            if elapsed < FRESH {
                return Self { wall: reading.wall.saturating_add(elapsed), tick };
            }
        }
        let reading = Self { wall: Timestamp::now(), tick };
        READING.set(Some(reading));
        reading
    }

    /// The wall time of the anchor.
    pub(crate) const fn start(&self) -> Timestamp {
        self.wall
    }

    /// When the anchor was read, in ticks.
    pub(crate) const fn tick(&self) -> Instant {
        self.tick
    }

    /// The anchor's wall time plus what has elapsed since, however the wall clock has jumped; and the
    /// tick that says how much.
    #[inline]
    pub(crate) fn read(&self) -> (Timestamp, Instant) {
        let tick = Instant::now();
        (self.wall.saturating_add(tick.saturating_duration_since(self.tick)), tick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_jumps_makes_no_duration_negative() {
        // Wherever the wall clock stood when the span began, it is not looked at again.
        for wall in [i64::MIN, 0, i64::MAX - 1_000, i64::MAX] {
            let anchor = Anchor { wall: Timestamp::from_nanos(wall), tick: Instant::now() };
            assert!(anchor.read().0 >= anchor.start(), "{wall}");
        }
    }
}
