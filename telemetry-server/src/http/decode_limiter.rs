//! Limits how many large bodies are decoded at once: decoding can take several times the body's size in memory.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::error::ApiError;

/// Largest body that is decoded without waiting, on the thread that serves its connection.
const SMALL: usize = 64 << 10;
/// Total bytes of larger bodies that are decoded at once. A body larger than this is decoded alone.
const MAX_BYTES: u32 = 4 << 20;
/// Bytes that a body counts for at least, so that at most eight threads decode.
const MIN_SHARE: u32 = MAX_BYTES / 8;

/// Limits the decoding of large bodies. Clones share the limit.
#[derive(Clone, Debug)]
pub(crate) struct DecodeLimiter(Arc<Semaphore>);

impl DecodeLimiter {
    /// The least size of a body that is not decoded on the thread that serves its connection.
    pub(crate) const LARGE: usize = SMALL + 1;

    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_BYTES as usize)))
    }

    /// Runs `work`, which decodes a body of `bytes`. For a large body, first waits until the limit allows it, and
    /// then runs on a thread that serves no connection. `None` is an unknown size, as of a compressed body.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        bytes: Option<usize>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        if bytes.is_some_and(|bytes| bytes <= SMALL) {
            return Ok(work());
        }
        let share = bytes.and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(MAX_BYTES);
        let permit = Arc::clone(&self.0).acquire_many_owned(share.clamp(MIN_SHARE, MAX_BYTES)).await;
        let permit = permit.map_err(|_| ApiError::shutting_down())?;
        let work = move || {
            // Kept until the work is done and has freed its memory, also if the request is dropped meanwhile.
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::shutting_down())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn large_bodies_wait_for_the_limit_and_small_ones_do_not() {
        const LARGEST: [Option<usize>; 3] = [Some(MAX_BYTES as usize), Some(usize::MAX), None];
        for (taken, bytes, runs) in [
            (MAX_BYTES, Some(SMALL), true),
            (MAX_BYTES, Some(SMALL + 1), false),
            (MAX_BYTES - MIN_SHARE, Some(SMALL + 1), true),
            (MAX_BYTES - MIN_SHARE, Some(MIN_SHARE as usize + 1), false),
            (0, LARGEST[0], true),
            (0, LARGEST[1], true),
            (0, LARGEST[2], true),
            (1, LARGEST[0], false),
            (1, LARGEST[1], false),
            (1, LARGEST[2], false),
        ] {
            let limiter = DecodeLimiter::new();
            let _taken = limiter.0.acquire_many(taken).await;
            // Work that the limit allows ends within the time. Other work never starts.
            let within = Duration::from_secs(if runs { 30 } else { 0 });
            let outcome = tokio::time::timeout(within, limiter.run(bytes, || ())).await;
            assert_eq!(outcome.is_ok_and(|outcome| outcome.is_ok()), runs, "{taken} {bytes:?}");
        }
    }

    #[tokio::test]
    async fn the_permit_is_returned_when_the_work_ends() {
        let limiter = DecodeLimiter::new();
        for _ in 0..3 {
            assert_eq!(limiter.run(None, || 7).await.ok(), Some(7));
        }
    }
}
