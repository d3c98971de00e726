//! Time for span guards: wall time once, then elapsed ticks, so that no duration is negative.

use fastant::Instant;
use telemetry_core::Timestamp;

/// A point of wall time and the tick it was read at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    wall: Timestamp,
    tick: Instant,
}

impl Anchor {
    /// Reads both clocks.
    pub(crate) fn now() -> Self {
        Self { wall: Timestamp::now(), tick: Instant::now() }
    }

    /// The wall time of the anchor.
    pub(crate) const fn start(&self) -> Timestamp {
        self.wall
    }

    /// The anchor's wall time plus what has elapsed since, however the wall clock has jumped.
    pub(crate) fn time(&self) -> Timestamp {
        self.wall.saturating_add(self.tick.elapsed())
    }
}
