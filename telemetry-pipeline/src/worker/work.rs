//! What a worker does next.

use std::cell::Cell;
use std::sync::Arc;

use telemetry_core::{Chunk, SignalSet};

use crate::receipt::Ack;
use crate::worker::{Delivery, FlushReply};

/// The next thing to do.
pub(super) enum Work {
    Flush(FlushReply),
    Load(Load),
}

/// What becomes one batch. Whoever delivers it and whoever tends the queue meanwhile share it, on one thread.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) chunks: Vec<Arc<Chunk>>,
    pub(super) acks: Vec<Ack>,
    /// Signals for this sink.
    pub(super) signals: usize,
    /// What it takes of the memory's share; nothing if it comes from disk.
    pub(super) bytes: usize,
    /// How many of its signals are settled: a retry, and a copy on disk, leave them out.
    pub(super) settled: Cell<usize>,
    /// It is on disk too, and ends before the signal of this number.
    pub(super) on_disk: Cell<Option<u64>>,
}

impl Load {
    pub(super) fn from_memory(deliveries: Vec<Delivery>) -> Self {
        let mut load = Self::from_disk(Vec::with_capacity(deliveries.len()), 0, None);
        for Delivery { chunk, signals, bytes, acks } in deliveries {
            load.chunks.push(chunk);
            load.acks.extend(acks);
            load.signals += signals;
            load.bytes += bytes;
        }
        load
    }

    pub(super) fn from_disk(chunks: Vec<Arc<Chunk>>, signals: usize, ends: Option<u64>) -> Self {
        Self { chunks, acks: Vec::new(), signals, bytes: 0, settled: Cell::new(0), on_disk: Cell::new(ends) }
    }

    /// Signals that are not settled.
    pub(super) fn left(&self) -> usize {
        self.signals.saturating_sub(self.settled.get())
    }

    /// Those of a sink's interest that are not settled, in order.
    pub(super) fn unsettled(&self, interest: SignalSet) -> impl Iterator<Item = &telemetry_core::Signal> {
        let signals = self.chunks.iter().flat_map(|chunk| chunk.signals());
        signals.filter(move |signal| interest.contains(signal.kind())).skip(self.settled.get())
    }
}
