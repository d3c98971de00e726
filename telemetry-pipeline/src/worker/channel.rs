//! The channel from the assembler thread to a worker, bounded by memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use telemetry_core::{Chunk, SignalSet};
use tokio::sync::{mpsc, oneshot};

use crate::accounting::{Ack, SinkCounters, SinkState};

/// Chunks that may wait for one worker, whatever their size.
const MAX_TASKS: usize = 8_192;

/// Something for the worker to do. `T` is a [`QueuedChunk`] in the queue, and a batch when it leaves the
/// queue.
#[derive(Debug)]
pub(super) enum Task<T> {
    Deliver(T),
    Flush(FlushReply),
}

/// Where the outcome of a flush goes.
pub(super) type FlushReply = oneshot::Sender<Result<(), String>>;

/// A chunk in the queue of one worker.
#[derive(Debug)]
pub(crate) struct QueuedChunk {
    pub(crate) chunk: Arc<Chunk>,
    /// How many of its signals are for this sink.
    pub(crate) signals: usize,
    /// Memory that the chunk retains.
    pub(crate) bytes: usize,
    pub(crate) acks: Vec<Ack>,
}

/// Memory of the chunks that wait for one worker or are being delivered.
#[derive(Debug)]
pub(super) struct QueueMemory {
    used: AtomicUsize,
    max: usize,
}

impl QueueMemory {
    pub(super) fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.max
    }

    /// Returns true from half of the bound on. Then submissions are refused, and chunks go to disk.
    pub(super) fn is_half_full(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.max / 2
    }
}

/// The assembler thread's end of a worker's queue.
#[derive(Debug)]
pub(crate) struct WorkerSender {
    pub(crate) counters: Arc<SinkCounters>,
    pub(crate) interest: SignalSet,
    pub(crate) is_store: bool,
    tasks: mpsc::Sender<Task<QueuedChunk>>,
    memory: Arc<QueueMemory>,
}

/// The queue of a store's worker, as submissions see it.
#[derive(Debug)]
pub(crate) struct StoreQueue {
    counters: Arc<SinkCounters>,
    memory: Arc<QueueMemory>,
}

impl StoreQueue {
    /// Returns true if the store works and its queue has no room for submissions.
    pub(crate) fn is_full(&self) -> bool {
        self.counters.state() == SinkState::Running && self.memory.is_half_full()
    }
}

/// Creates the two ends of a worker's queue, and the measure of its memory.
pub(super) fn channel(
    counters: Arc<SinkCounters>,
    interest: SignalSet,
    is_store: bool,
    max_bytes: usize,
) -> (WorkerSender, mpsc::Receiver<Task<QueuedChunk>>, Arc<QueueMemory>) {
    let (tasks, receiver) = mpsc::channel(MAX_TASKS);
    let memory = Arc::new(QueueMemory { used: AtomicUsize::new(0), max: max_bytes });
    (WorkerSender { counters, interest, is_store, tasks, memory: Arc::clone(&memory) }, receiver, memory)
}

impl WorkerSender {
    /// Sends a chunk. Returns false if there is no room: then the chunk is dropped with its acks, and
    /// counted.
    pub(crate) fn send(&self, chunk: QueuedChunk) -> bool {
        let (signals, bytes) = (chunk.signals as u64, chunk.bytes);
        self.counters.accept(signals);
        if self.memory.is_full() {
            self.counters.drop_signals(signals, self.counters.full_reason());
            return false;
        }
        self.memory.add(bytes);
        if let Err(error) = self.tasks.try_send(Task::Deliver(chunk)) {
            self.memory.remove(bytes);
            let reason = match error {
                mpsc::error::TrySendError::Full(_) => self.counters.full_reason(),
                mpsc::error::TrySendError::Closed(_) => "sink closed",
            };
            self.counters.drop_signals(signals, reason);
            return false;
        }
        true
    }

    /// Asks for a flush. If the queue is full or closed, the reply is dropped, which its receiver notices.
    pub(crate) fn flush(&self, reply: oneshot::Sender<Result<(), String>>) {
        let _ = self.tasks.try_send(Task::Flush(reply));
    }

    /// Returns the store's queue as submissions see it, if the sink is a store.
    pub(crate) fn store_queue(&self) -> Option<StoreQueue> {
        self.is_store
            .then(|| StoreQueue { counters: Arc::clone(&self.counters), memory: Arc::clone(&self.memory) })
    }
}
