//! What a store rejected for good: the way back from its worker to the engine.

use std::sync::{Arc, Mutex, PoisonError};

use telemetry_core::Chunk;

/// Chunks that a store did not keep, or not whole. Whoever submitted them is told so and sends them again;
/// the assembler must not take that for a repetition. A cheap clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct LostChunks(Arc<Mutex<Vec<Arc<Chunk>>>>);

impl LostChunks {
    /// Adds chunks, before anybody is told.
    pub(crate) fn add(&self, chunks: &[Arc<Chunk>]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(chunks);
    }

    /// Takes all.
    pub(crate) fn take(&self) -> Vec<Arc<Chunk>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
