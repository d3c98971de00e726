//! A sink that does as a script says: for tests of whoever has to live with bad sinks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use telemetry_core::{Batch, BuiltSink, SignalSet, Sink, SinkError, Written};

use crate::capture::{DEADLINE, Seen};

/// What a [`FaultySink`] does with one call. A flush or a shutdown has no batch to take: there
/// [`Move::Deliver`] and its like succeed.
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
    moves: Arc<Mutex<Moves>>,
    released: Arc<AtomicBool>,
}

/// What is left to do, by call.
#[derive(Debug, Default)]
struct Moves {
    write: VecDeque<Move>,
    flush: VecDeque<Move>,
    shutdown: Option<Move>,
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

    /// Adds moves for calls of `write`.
    pub fn extend(&self, moves: impl IntoIterator<Item = Move>) {
        self.lock().write.extend(moves);
    }

    /// Adds moves for calls of `flush`.
    pub fn at_flush(&self, moves: impl IntoIterator<Item = Move>) {
        self.lock().flush.extend(moves);
    }

    /// Says what `shutdown` does.
    pub fn at_shutdown(&self, next: Move) {
        self.lock().shutdown = Some(next);
    }

    /// How many moves for `write` are left.
    pub fn left(&self) -> usize {
        self.lock().write.len()
    }

    /// Ends every [`Move::Block`], now and later.
    pub fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Moves> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn block(&self) {
        let started = Instant::now();
        while !self.released.load(Ordering::Relaxed) && started.elapsed() < DEADLINE {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Makes a move; `Ok` says how much of a batch the destination refused.
    async fn make(&self, next: Option<Move>) -> Result<u64, SinkError> {
        match next.unwrap_or(Move::Deliver) {
            Move::Deliver => {}
            Move::DeliverBut(rejected) => return Ok(rejected),
            Move::Retry(None) => return Err(SinkError::retry("scripted to fail for now")),
            Move::Retry(Some(after)) => return Err(SinkError::retry("scripted to fail for now").after(after)),
            Move::RetryAfterStoring(stored) => {
                return Err(SinkError::retry("scripted to fail half-way").stored(stored));
            }
            Move::Reject => return Err(SinkError::reject("scripted to reject this")),
            Move::Close => return Err(SinkError::close("scripted to end")),
            Move::Panic => panic!("scripted to panic"),
            Move::Hang => std::future::pending().await,
            Move::Block => self.block(),
        }
        Ok(0)
    }
}

#[async_trait]
impl Sink for FaultySink {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let next = self.0.lock().write.pop_front();
        let rejected = self.0.make(next).await?;
        self.0.seen.take(batch);
        Ok(if rejected == 0 { batch.delivered() } else { Written::partly(rejected, "scripted") })
    }

    async fn flush(&mut self) -> Result<(), SinkError> {
        let next = self.0.lock().flush.pop_front();
        self.0.make(next).await?;
        self.0.seen.note_flush();
        Ok(())
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        let next = self.0.lock().shutdown.take();
        self.0.make(next).await?;
        self.0.seen.note_shutdown();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Driver, Workload, block_on};

    #[test]
    fn every_call_follows_its_script() {
        let (sink, script) = FaultySink::new([Move::DeliverBut(2), Move::RetryAfterStoring(1)]);
        script.at_flush([Move::Reject]);
        script.at_shutdown(Move::Close);
        let mut driver = Driver::new(sink.built());
        block_on(async {
            assert_eq!(
                driver.write(Workload::new(1).signals()).await.map(|written| written.rejected).ok(),
                Some(2)
            );
            let error = driver.write(Workload::new(1).signals()).await.expect_err("the second move");
            assert_eq!(error.stored_signals(), 1);
            assert!(driver.flush().await.is_err() && driver.flush().await.is_ok());
            assert!(driver.shutdown().await.is_err());
        });
        assert_eq!((script.left(), script.seen().batches(), script.seen().flushes()), (0, 1, 1));
        assert!(!script.seen().is_shut_down());
    }
}
