//! What a store rejected for good: the way back from its worker to the engine.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use telemetry_core::Chunk;

/// Chunks that a store did not keep, or not whole. Whoever submitted them is told so and sends them again;
/// the assembler must not take that for a repetition. A cheap clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct LostChunks(Arc<Lost>);

#[derive(Debug, Default)]
struct Lost {
    chunks: Mutex<Vec<Arc<Chunk>>>,
    losses: AtomicU64,
}

impl LostChunks {
    /// Adds chunks, before anybody is told.
    pub(crate) fn add(&self, chunks: &[Arc<Chunk>]) {
        let mut all = self.0.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(chunks);
        self.0.losses.fetch_add(1, Ordering::Release);
    }

    /// Takes all, and says how many losses there were until now.
    pub(crate) fn take(&self) -> (Vec<Arc<Chunk>>, u64) {
        let mut all = self.0.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut *all), self.losses())
    }

    /// How often something was lost.
    pub(crate) fn losses(&self) -> u64 {
        self.0.losses.load(Ordering::Acquire)
    }
}
