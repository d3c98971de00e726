//! A sink that fails as a script says, to test code that must cope with bad sinks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use telemetry_core::{Batch, BuiltSink, SignalSet, Sink, SinkError, Written};

use crate::capture::{DEADLINE, Seen};

/// What a [`FaultySink`] does in one call.
///
/// A flush or a shutdown has no batch: there, the moves that take a batch succeed without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Takes the batch.
    Deliver,
    /// Takes the batch and reports that the destination rejected this many of its signals.
    DeliverBut(u64),
    /// Fails with [`Action::Retry`](telemetry_core::Action::Retry), after this time if there is one.
    Retry(Option<Duration>),
    /// Fails with `Retry`, and reports that this many leading signals are stored.
    RetryAfterStoring(usize),
    /// Fails with [`Action::Reject`](telemetry_core::Action::Reject).
    Reject,
    /// Fails with [`Action::Close`](telemetry_core::Action::Close).
    Close,
    /// Panics.
    Panic,
    /// Never returns. Other tasks of the thread continue to run.
    Hang,
    /// Blocks its thread until [`Script::release`] or for [`DEADLINE`], then takes the batch.
    Block,
}

/// A sink that follows a [`Script`]. Once the script is empty, it delivers.
///
/// ```
/// use telemetry_core::{Action, EventContext};
/// use telemetry_testkit::{Driver, FaultySink, Move, block_on, signals::log};
///
/// let (sink, script) = FaultySink::new([Move::Retry(None), Move::Deliver]);
/// let mut driver = Driver::new(sink.built());
/// let error = block_on(driver.write(vec![log(EventContext::None, 0, "hello")])).unwrap_err();
/// assert_eq!(error.action(), Action::Retry { after: None });
/// block_on(driver.write_again()).unwrap();
/// assert_eq!(script.seen().messages(), ["hello"]);
/// ```
#[derive(Debug)]
pub struct FaultySink(Script);

/// The test's handle to a [`FaultySink`]. Clones are cheap.
#[derive(Clone, Debug, Default)]
pub struct Script {
    seen: Seen,
    moves: Arc<Mutex<Moves>>,
    released: Arc<AtomicBool>,
}

/// The moves that are left, by method of the sink.
#[derive(Debug, Default)]
struct Moves {
    write: VecDeque<Move>,
    flush: VecDeque<Move>,
    shutdown: Option<Move>,
}

impl FaultySink {
    /// Returns a sink that makes one of `moves` in each call of `write`, and the handle that can add more.
    pub fn new(moves: impl IntoIterator<Item = Move>) -> (Self, Script) {
        let script = Script::default();
        script.extend(moves);
        (Self(script.clone()), script)
    }

    /// Returns the sink as a build function does: interested in every signal, with default options.
    pub fn built(self) -> BuiltSink {
        BuiltSink::new(self, SignalSet::ALL)
    }
}

impl Script {
    /// Returns the handle that shows what the sink has received.
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

    /// Sets the move for the call of `shutdown`.
    pub fn at_shutdown(&self, next: Move) {
        self.lock().shutdown = Some(next);
    }

    /// Returns the number of moves left for `write`.
    pub fn left(&self) -> usize {
        self.lock().write.len()
    }

    /// Ends the current [`Move::Block`] and all later ones.
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

    /// Makes a move. Returns how many signals of the batch the destination rejected.
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
            Move::Close => return Err(SinkError::close("scripted to close")),
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
        self.0.seen.add(batch);
        Ok(if rejected == 0 { batch.delivered() } else { Written::partly(rejected, "scripted") })
    }

    async fn flush(&mut self) -> Result<(), SinkError> {
        let next = self.0.lock().flush.pop_front();
        self.0.make(next).await?;
        self.0.seen.count_flush();
        Ok(())
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        let next = self.0.lock().shutdown.take();
        self.0.make(next).await?;
        self.0.seen.set_shut_down();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use telemetry_core::EventContext;

    use super::*;
    use crate::signals::log;
    use crate::{Driver, block_on};

    #[test]
    fn every_call_follows_its_script() {
        let (sink, script) = FaultySink::new([Move::DeliverBut(2), Move::RetryAfterStoring(1)]);
        script.at_flush([Move::Reject]);
        script.at_shutdown(Move::Close);
        let mut driver = Driver::new(sink.built());
        let three_logs = || (0..3).map(|time| log(EventContext::None, time, "log")).collect();
        block_on(async {
            assert_eq!(driver.write(three_logs()).await.map(|written| written.rejected).ok(), Some(2));
            let error = driver.write(three_logs()).await.expect_err("the second move");
            assert_eq!(error.stored_signals(), 1);
            assert!(driver.flush().await.is_err() && driver.flush().await.is_ok());
            assert!(driver.shutdown().await.is_err());
        });
        assert_eq!((script.left(), script.seen().batches(), script.seen().flushes()), (0, 1, 1));
        assert!(!script.seen().is_shut_down());
    }
}
