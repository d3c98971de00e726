//! A batch on its way to the sink.

use std::cell::Cell;
use std::sync::Arc;

use telemetry_core::{Chunk, Signal, SignalSet};

use super::channel::QueuedChunk;
use crate::accounting::Ack;

/// Chunks that become one batch, and how far it is delivered. The deliverer and the queue share it while it
/// is being delivered, on one thread.
#[derive(Debug)]
pub(super) struct PendingBatch {
    pub(super) chunks: Vec<Arc<Chunk>>,
    pub(super) acks: Vec<Ack>,
    /// Signals for this sink.
    pub(super) signals: usize,
    /// Memory charged to the queue. 0 if the batch was read from disk.
    pub(super) bytes: usize,
    /// How many of its signals are settled. A retry and a copy on disk leave them out.
    pub(super) settled: Cell<usize>,
    /// If the batch is on disk too: the number of the signal after its last one.
    pub(super) spool_end: Cell<Option<u64>>,
}

/// How the delivery of a batch ended. All its signals are counted, except those that a shutdown leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchOutcome {
    /// The sink has delivered it.
    Delivered,
    /// The sink rejected it or has ended, or a store did not keep all of it.
    Failed,
    /// A shutdown left no time. The signals that are not settled are not counted yet.
    GaveUp,
}

impl PendingBatch {
    /// Creates a batch of chunks from memory, which are then added.
    pub(super) fn from_memory(first: QueuedChunk) -> Self {
        let mut batch = Self::new(Vec::new(), 0, None);
        batch.add(first);
        batch
    }

    /// Creates a batch of chunks that were read from disk. `end` is the number of the signal after the last
    /// one.
    pub(super) fn from_spool(chunks: Vec<Arc<Chunk>>, signals: usize, end: u64) -> Self {
        Self::new(chunks, signals, Some(end))
    }

    fn new(chunks: Vec<Arc<Chunk>>, signals: usize, spool_end: Option<u64>) -> Self {
        let (settled, spool_end) = (Cell::new(0), Cell::new(spool_end));
        Self { chunks, acks: Vec::new(), signals, bytes: 0, settled, spool_end }
    }

    pub(super) fn add(&mut self, chunk: QueuedChunk) {
        let QueuedChunk { chunk, signals, bytes, acks } = chunk;
        self.chunks.push(chunk);
        self.acks.extend(acks);
        self.signals += signals;
        self.bytes += bytes;
    }

    /// Returns the number of signals that are not settled.
    pub(super) fn left(&self) -> usize {
        self.signals.saturating_sub(self.settled.get())
    }

    /// Returns the signals of the sink's interest that are not settled, in order.
    pub(super) fn unsettled(&self, interest: SignalSet) -> impl Iterator<Item = &Signal> {
        let signals = self.chunks.iter().flat_map(|chunk| chunk.signals());
        signals.filter(move |signal| interest.contains(signal.kind())).skip(self.settled.get())
    }
}
