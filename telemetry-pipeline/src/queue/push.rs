//! The callers' side of the queue.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_queue::ArrayQueue;
use telemetry_core::{SignalSet, Submission};
use tokio::sync::oneshot;

use super::record::{FREE_BYTES, Record};
use super::ring::RingSet;
use super::spare_ends::SpareEnds;
use crate::accounting::{Ack, IngestCounters};
use crate::assembler::Sampling;
use crate::config::PipelineConfig;

/// Requests that may wait for the assembler thread.
const REQUESTS: usize = 4_096;

/// A request to the assembler thread.
#[derive(Debug)]
pub(crate) enum Request {
    /// Assembles submissions. There is one ack per store.
    Submit { submissions: Vec<Submission>, acks: Vec<Ack> },
    /// Flushes the sinks. There is one reply per sink.
    Flush { replies: Vec<oneshot::Sender<Result<(), String>>> },
}

/// The queue between callers and the assembler thread.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(super) rings: RingSet,
    pub(super) requests: ArrayQueue<Request>,
    /// Bytes of the records that are charged.
    pub(super) bytes: AtomicUsize,
    max_bytes: usize,
    max_value_bytes: usize,
    /// Records that retain at most this many bytes are neither cut nor charged.
    small_bytes: usize,
    pub(crate) interest: SignalSet,
    pub(crate) sampling: Sampling,
    pub(crate) ingest: IngestCounters,
    pub(super) spare_ends: SpareEnds,
    closed: AtomicBool,
    /// True while the assembler thread sleeps until it is woken. Only then a push wakes it.
    pub(super) parked: AtomicBool,
    assembler_thread: OnceLock<std::thread::Thread>,
}

impl Queue {
    pub(crate) fn new(config: &PipelineConfig, interest: SignalSet) -> Self {
        Self {
            rings: RingSet::new(config.queue_slots),
            requests: ArrayQueue::new(REQUESTS),
            bytes: AtomicUsize::new(0),
            max_bytes: config.queue_bytes,
            max_value_bytes: config.assembler.max_value_bytes,
            small_bytes: config.assembler.max_value_bytes.min(FREE_BYTES),
            interest,
            sampling: config.assembler.sampling,
            ingest: IngestCounters::default(),
            spare_ends: SpareEnds::default(),
            closed: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            assembler_thread: OnceLock::new(),
        }
    }

    /// Pushes a record of in-process code that retains `bytes`. Never blocks. Returns false if it was
    /// refused, and counts that.
    ///
    /// The record is made directly in its slot of the ring, so everything here must be inlined. A record that
    /// is made elsewhere and copied would be read before it has left the store buffer, and that read would
    /// wait for all earlier stores.
    #[expect(clippy::inline_always, reason = "without it, a push takes half as long again")]
    #[inline(always)]
    pub(crate) fn offer(&self, bytes: usize, record: impl FnOnce() -> Record) -> bool {
        if self.closed.load(Ordering::Relaxed) || bytes > self.small_bytes {
            return self.offer_large(Box::new(record()));
        }
        let accepted = self.push(record, drop);
        if !accepted {
            self.ingest.refused_full.fetch_add(1, Ordering::Relaxed);
        }
        accepted
    }

    /// Offers the end of a span whose start was accepted. It is refused only once the queue is closed. If its ring is full,
    /// it goes to the spare ends. If the byte budget is used up, it loses its attributes, which is counted.
    #[expect(clippy::inline_always, reason = "a part of the end of every span")]
    #[inline(always)]
    pub(crate) fn offer_end(&self, bytes: usize, end: impl FnOnce() -> Record) {
        if self.closed.load(Ordering::Relaxed) || bytes > self.small_bytes {
            self.offer_large_end(end());
        } else {
            self.push(end, |end| self.spare_ends.push(end));
        }
    }

    #[cold]
    fn offer_large_end(&self, mut end: Record) {
        if self.is_closed() {
            self.ingest.refused_closed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let cut = end.truncate(self.max_value_bytes);
        let bytes = end.charged_bytes();
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > self.max_bytes {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.ingest.truncated_values.fetch_add(cut + end.drop_attributes(), Ordering::Relaxed);
        } else {
            self.ingest.truncated_values.fetch_add(cut, Ordering::Relaxed);
        }
        self.push(move || end, |end| self.spare_ends.push(end));
    }

    /// Cuts a large record, charges it to the byte budget and pushes it. Refuses any record after the close.
    #[cold]
    fn offer_large(&self, mut record: Box<Record>) -> bool {
        if self.is_closed() {
            self.ingest.refused_closed.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        if record.retained_bytes() > self.max_value_bytes {
            self.ingest.truncated_values.fetch_add(record.truncate(self.max_value_bytes), Ordering::Relaxed);
        }
        let bytes = record.charged_bytes();
        let fits = bytes == 0 || self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.max_bytes;
        let accepted = fits && self.push(move || *record, drop);
        if !accepted {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.ingest.refused_full.fetch_add(1, Ordering::Relaxed);
        }
        accepted
    }

    #[expect(clippy::inline_always, reason = "a part of `offer`")]
    #[inline(always)]
    fn push(&self, record: impl FnOnce() -> Record, full: impl FnOnce(Record)) -> bool {
        let pushed = self.rings.push(record, full);
        if pushed && self.parked.load(Ordering::Acquire) {
            // One push wakes the thread. Until it runs, about a hundred others may follow: they need not.
            self.parked.store(false, Ordering::Release);
            self.wake();
        }
        pushed
    }

    /// Pushes a request and wakes the assembler thread. Returns the request if there is no room.
    pub(crate) fn request(&self, request: Request) -> Result<(), Request> {
        self.requests.push(request)?;
        self.wake();
        Ok(())
    }

    /// Refuses all records from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Sets the thread to wake.
    pub(crate) fn set_assembler_thread(&self, thread: std::thread::Thread) {
        // It is set once, when the thread is started.
        let _ = self.assembler_thread.set(thread);
    }

    pub(super) fn wake(&self) {
        if let Some(thread) = self.assembler_thread.get() {
            thread.unpark();
        }
    }
}

thread_local! {
    /// The reference of the guard that was dropped last on this thread.
    static SPARE: Cell<Option<Arc<Queue>>> = const { Cell::new(None) };
}

/// A guard's reference to the queue. A guard passes it to the next one on the same thread, which saves
/// changing the reference count.
#[derive(Debug)]
pub(crate) struct QueueRef(Option<Arc<Queue>>);

impl QueueRef {
    /// Returns a reference to `queue`. It is `None` if no sink wants anything.
    #[inline]
    pub(crate) fn new(queue: Option<&Arc<Queue>>) -> Self {
        let Some(queue) = queue else { return Self(None) };
        // A thread that is ending has no spare reference.
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        Self(Some(spare.filter(|spare| Arc::ptr_eq(spare, queue)).unwrap_or_else(|| Arc::clone(queue))))
    }

    #[inline]
    pub(crate) const fn get(&self) -> Option<&Arc<Queue>> {
        self.0.as_ref()
    }
}

impl Drop for QueueRef {
    #[inline]
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            let _ = SPARE.try_with(|spare| spare.set(Some(queue)));
        }
    }
}
