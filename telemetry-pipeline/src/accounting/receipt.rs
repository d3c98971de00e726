//! Receipts: how a submitter learns that every store has committed.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::deadline;

use telemetry_core::Chunk;
use tokio::sync::oneshot;

/// Completes once every store among the sinks has committed the submissions. Without a store, it completes
/// once they are queued.
///
/// It is a future for any runtime. The submissions are stored also if it is dropped.
#[derive(Debug)]
#[must_use = "only an awaited receipt shows whether the submissions are stored"]
pub struct Receipt(oneshot::Receiver<()>);

/// A store did not commit the submissions: it is overloaded, has failed, or the pipeline is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a store did not commit the submissions; submit them again later")]
pub struct NotStored;

impl Receipt {
    /// Blocks until the receipt completes, `within` at most.
    ///
    /// # Errors
    ///
    /// [`NotStored`] when a store failed or the time is over. After a timeout the submissions may still be
    /// stored later.
    pub fn wait(mut self, within: Duration) -> Result<(), NotStored> {
        let deadline = deadline::after(within);
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

/// One store's part of a receipt. Dropping it before [`Ack::stored`] means "not stored", so overflow, panics
/// and exhausted retries need no code of their own.
#[derive(Debug)]
pub(crate) struct Ack {
    shared: Option<Arc<Shared>>,
    /// What stores have rejected, and how many rejections were known when the submission was assembled.
    rejected: Option<(RejectedChunks, u64)>,
}

#[derive(Debug)]
struct Shared {
    missing: AtomicUsize,
    answer: Mutex<Option<oneshot::Sender<()>>>,
}

impl Shared {
    fn take_answer(&self) -> Option<oneshot::Sender<()>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Ack {
    /// Returns another part of the same receipt, for another chunk that must be committed too.
    pub(crate) fn split(&self) -> Self {
        if let Some(shared) = &self.shared {
            // `self` is missing too, so the receipt can't complete meanwhile.
            shared.missing.fetch_add(1, Ordering::Relaxed);
        }
        Self { shared: self.shared.clone(), rejected: self.rejected.clone() }
    }

    /// Makes [`Ack::stored`] fail if stores reject more chunks than the `known` ones.
    ///
    /// The assembler may take a submission for a repetition of one that is still pending. If that one is
    /// rejected, the repetition is not stored either.
    pub(crate) fn fail_on_new_rejections(&mut self, rejected: &RejectedChunks, known: u64) {
        self.rejected = Some((rejected.clone(), known));
    }

    /// Reports that the store has committed.
    pub(crate) fn stored(mut self) {
        if self.rejected.as_ref().is_some_and(|(rejected, known)| rejected.count() != *known) {
            return;
        }
        let Some(shared) = self.shared.take() else { return };
        if shared.missing.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(answer) = shared.take_answer()
        {
            // The receipt may have been dropped.
            let _ = answer.send(());
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            drop(shared.take_answer());
        }
    }
}

/// Returns a receipt and one ack for each of `stores` stores. Without stores it is complete.
pub(crate) fn receipt(stores: usize) -> (Receipt, Vec<Ack>) {
    let (answer, receiver) = oneshot::channel();
    if stores == 0 {
        let _ = answer.send(());
        return (Receipt(receiver), Vec::new());
    }
    let shared = Arc::new(Shared { missing: AtomicUsize::new(stores), answer: Mutex::new(Some(answer)) });
    let acks = (0..stores).map(|_| Ack { shared: Some(Arc::clone(&shared)), rejected: None }).collect();
    (Receipt(receiver), acks)
}

/// Chunks that a store did not keep completely. A cheap clone, shared by the stores' workers and the
/// assembler thread.
///
/// The submitter gets no acknowledgement and submits them again. The assembler must then not refuse them as
/// repetitions, so it forgets the spans of these chunks.
#[derive(Clone, Debug, Default)]
pub(crate) struct RejectedChunks(Arc<Rejections>);

#[derive(Debug, Default)]
struct Rejections {
    chunks: Mutex<Vec<Arc<Chunk>>>,
    count: AtomicU64,
}

impl RejectedChunks {
    /// Adds chunks. Call this before the submitter learns of the rejection.
    pub(crate) fn add(&self, chunks: &[Arc<Chunk>]) {
        let mut all = self.0.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(chunks);
        self.0.count.fetch_add(1, Ordering::Release);
    }

    /// Takes the chunks, and returns them with the number of rejections until now.
    pub(crate) fn take(&self) -> (Vec<Arc<Chunk>>, u64) {
        let mut all = self.0.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut *all), self.count())
    }

    /// Returns the number of rejections until now.
    pub(crate) fn count(&self) -> u64 {
        self.0.count.load(Ordering::Acquire)
    }
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
    fn without_a_store_a_queued_submission_is_enough() {
        assert_eq!(receipt(0).0.wait(Duration::ZERO), Ok(()));
    }
}
