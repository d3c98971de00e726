//! Receipts: what was submitted is stored, once every store has committed.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::lost::LostChunks;

/// Completes once every store among the sinks has committed what was submitted; without a store,
/// once it is queued.
///
/// A future for any runtime. Dropping it changes nothing about the storing.
#[derive(Debug)]
#[must_use = "a receipt that is not awaited says nothing"]
pub struct Receipt(oneshot::Receiver<()>);

/// A store could not take what was submitted: it is overloaded, has failed for good, or the
/// pipeline is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a store did not keep what was submitted; submit it again later")]
pub struct NotStored;

impl Receipt {
    /// Waits on this thread, at most `within`.
    ///
    /// # Errors
    ///
    /// [`NotStored`] when a store failed or the time is over; then it may still be stored later.
    pub fn wait(mut self, within: Duration) -> Result<(), NotStored> {
        let deadline = Instant::now() + within;
        let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(outcome) = Pin::new(&mut self).poll(&mut context) {
                return outcome;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NotStored);
            }
            std::thread::park_timeout(left);
        }
    }
}

struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Future for Receipt {
    type Output = Result<(), NotStored>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| outcome.map_err(|_| NotStored))
    }
}

/// One store's part of a receipt. Dropped unmarked, it means "not stored", so overflow, panic and
/// give-up need no code of their own.
#[derive(Debug)]
pub(crate) struct Ack {
    shared: Option<Arc<Shared>>,
    /// Where stores tell their losses, and how many were known when the submission was taken.
    lost: Option<(LostChunks, u64)>,
}

#[derive(Debug)]
struct Shared {
    missing: AtomicUsize,
    answer: Mutex<Option<oneshot::Sender<()>>>,
}

impl Shared {
    fn take(&self) -> Option<oneshot::Sender<()>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Ack {
    /// A part more: what was submitted goes on in another chunk, which must be committed as well.
    pub(crate) fn split(&self) -> Self {
        if let Some(shared) = &self.shared {
            // This part is missing itself, so the receipt is not complete meanwhile.
            shared.missing.fetch_add(1, Ordering::Relaxed);
        }
        Self { shared: self.shared.clone(), lost: self.lost.clone() }
    }

    /// Of a submission that is taken while `known` losses are known. What was taken for a repetition may
    /// have been lost with the first try that was still pending: then it is not stored either.
    pub(crate) fn unless_more_is_lost(&mut self, lost: &LostChunks, known: u64) {
        self.lost = Some((lost.clone(), known));
    }

    /// The store has committed.
    pub(crate) fn stored(mut self) {
        if self.lost.as_ref().is_some_and(|(lost, known)| lost.losses() != *known) {
            return;
        }
        let Some(shared) = self.shared.take() else { return };
        if shared.missing.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(answer) = shared.take()
        {
            // Nobody waits any more: fine.
            let _ = answer.send(());
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            drop(shared.take());
        }
    }
}

/// A receipt and the acks of `stores` stores. Without stores it completes at once.
pub(crate) fn receipt(stores: usize) -> (Receipt, Vec<Ack>) {
    let (answer, receiver) = oneshot::channel();
    if stores == 0 {
        let _ = answer.send(());
        return (Receipt(receiver), Vec::new());
    }
    let shared = Arc::new(Shared { missing: AtomicUsize::new(stores), answer: Mutex::new(Some(answer)) });
    let acks = (0..stores).map(|_| Ack { shared: Some(Arc::clone(&shared)), lost: None }).collect();
    (Receipt(receiver), acks)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    #[test]
    fn every_store_must_commit() {
        let (receipt, acks) = receipt(2);
        acks.into_iter().for_each(Ack::stored);
        assert_eq!(receipt.wait(Duration::ZERO), Ok(()));
    }

    #[test]
    fn every_part_must_be_committed() {
        for all in [true, false] {
            let (receipt, mut acks) = receipt(1);
            let first = acks.pop().unwrap();
            let second = first.split();
            first.stored();
            if all {
                second.stored();
            } else {
                drop(second);
            }
            assert_eq!(receipt.wait(DEADLINE).is_ok(), all);
        }
    }

    #[test]
    fn a_dropped_ack_means_not_stored() {
        let (receipt, mut acks) = receipt(2);
        acks.pop().unwrap().stored();
        drop(acks);
        assert_eq!(receipt.wait(DEADLINE), Err(NotStored));
    }

    #[test]
    fn without_a_store_queued_is_enough() {
        assert_eq!(receipt(0).0.wait(Duration::ZERO), Ok(()));
    }
}
