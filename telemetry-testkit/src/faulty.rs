//! A sink that does as a script says: for tests of whoever has to live with bad sinks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use telemetry_core::{Batch, BuiltSink, SignalSet, Sink, SinkError, Written};

use crate::capture::{DEADLINE, Seen};

/// What a [`FaultySink`] does with one call of `write`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Takes the batch.
    Deliver,
    /// Takes the batch, and says that the destination refused this many signals of it.
    DeliverBut(u64),
    /// Fails in a way that may pass; to be tried again after this time, if given.
    Retry(Option<Duration>),
    /// Fails, with this many leading signals stored all the same.
    RetryAfterStoring(usize),
    /// Fails for good with this batch.
    Reject,
    /// Ends.
    Close,
    /// Panics.
    Panic,
    /// Never answers, and lets other tasks run meanwhile.
    Hang,
    /// Blocks its thread until [`Script::release`], or for [`DEADLINE`]; then takes the batch.
    Block,
}

/// A sink that follows a [`Script`]; with nothing left to follow, it delivers.
///
/// ```
/// use telemetry_core::Action;
/// use telemetry_testkit::{Driver, FaultySink, Move, Workload, block_on};
///
/// let (sink, script) = FaultySink::new([Move::Retry(None), Move::Deliver]);
/// let mut driver = Driver::new(sink.built());
/// let error = block_on(driver.write(Workload::new(1).signals())).unwrap_err();
/// assert_eq!(error.action(), Action::Retry { after: None });
/// block_on(driver.write_again()).unwrap();
/// assert_eq!(script.seen().batches(), 1);
/// ```
#[derive(Debug)]
pub struct FaultySink(Script);

/// The test's end of a [`FaultySink`]. A cheap clone.
#[derive(Clone, Debug, Default)]
pub struct Script {
    seen: Seen,
    moves: Arc<Mutex<VecDeque<Move>>>,
    released: Arc<AtomicBool>,
}

impl FaultySink {
    /// A sink that will do `moves`, one per `write`, and the handle to tell it more.
    pub fn new(moves: impl IntoIterator<Item = Move>) -> (Self, Script) {
        let script = Script::default();
        script.extend(moves);
        (Self(script.clone()), script)
    }

    /// The sink as a build function gives it: interested in everything, with default options.
    pub fn built(self) -> BuiltSink {
        BuiltSink::new(self, SignalSet::ALL)
    }
}

impl Script {
    /// What the sink has taken.
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Adds moves at the end.
    pub fn extend(&self, moves: impl IntoIterator<Item = Move>) {
        self.lock().extend(moves);
    }

    /// How many moves are left.
    pub fn left(&self) -> usize {
        self.lock().len()
    }

    /// Ends every [`Move::Block`], now and later.
    pub fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Move>> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn block(&self) {
        let started = Instant::now();
        while !self.released.load(Ordering::Relaxed) && started.elapsed() < DEADLINE {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

#[async_trait]
impl Sink for FaultySink {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let next = self.0.lock().pop_front().unwrap_or(Move::Deliver);
        match next {
            Move::Deliver => {}
            Move::DeliverBut(rejected) => {
                self.0.seen.take(batch);
                return Ok(Written::partly(rejected, "scripted"));
            }
            Move::Retry(None) => return Err(SinkError::retry("scripted to fail for now")),
            Move::Retry(Some(after)) => return Err(SinkError::retry("scripted to fail for now").after(after)),
            Move::RetryAfterStoring(stored) => {
                return Err(SinkError::retry("scripted to fail half-way").stored(stored));
            }
            Move::Reject => return Err(SinkError::reject("scripted to reject this")),
            Move::Close => return Err(SinkError::close("scripted to end")),
            Move::Panic => panic!("scripted to panic"),
            Move::Hang => std::future::pending().await,
            Move::Block => self.0.block(),
        }
        self.0.seen.take(batch);
        Ok(batch.delivered())
    }

    async fn flush(&mut self) -> Result<(), SinkError> {
        self.0.seen.note_flush();
        Ok(())
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        self.0.seen.note_shutdown();
        Ok(())
    }
}
