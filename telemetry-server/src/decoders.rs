//! Turns to read large bodies: what is made of one takes many times its size, and a while.

use std::sync::Arc;

use axum::extract::FromRef;
use tokio::sync::Semaphore;

use crate::error::ApiError;
use crate::state::AppState;

/// Bytes up to which a body is read at once, by the thread that serves its connection.
const SMALL: usize = 64 << 10;
/// Bytes of larger bodies that are read at the same time. One that is larger yet is read alone.
const AT_ONCE: u32 = 4 << 20;
/// What a body counts for at least, so that few threads are at it.
const LEAST: u32 = AT_ONCE / 8;

/// Where bodies wait for their turn. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Decoders(Arc<Semaphore>);

impl Decoders {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE as usize)))
    }

    /// Does the work of reading a body of `bytes`: away from the threads that serve connections if it is large, when it
    /// is its turn. `None` is a size that shows only later, as that of a compressed body.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        bytes: Option<usize>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        if bytes.is_some_and(|bytes| bytes <= SMALL) {
            return Ok(work());
        }
        let share = bytes.and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(AT_ONCE);
        let turn = Arc::clone(&self.0).acquire_many_owned(share.clamp(LEAST, AT_ONCE)).await;
        let turn = turn.map_err(|_| ApiError::unavailable("the server is shutting down"))?;
        let work = move || {
            // Held until the work has dropped what it made on the way, also if nobody waits for it any more.
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| ApiError::unavailable("the server is shutting down"))
    }
}

impl FromRef<AppState> for Decoders {
    fn from_ref(state: &AppState) -> Self {
        state.decoders().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn large_bodies_wait_until_there_is_room_for_them_and_small_ones_never() {
        const LARGEST: [Option<usize>; 3] = [Some(AT_ONCE as usize), Some(usize::MAX), None];
        for (taken, bytes, runs) in [
            (AT_ONCE, Some(SMALL), true),
            (AT_ONCE, Some(SMALL + 1), false),
            (AT_ONCE - LEAST, Some(SMALL + 1), true),
            (AT_ONCE - LEAST, Some(LEAST as usize + 1), false),
            (0, LARGEST[0], true),
            (0, LARGEST[1], true),
            (0, LARGEST[2], true),
            (1, LARGEST[0], false),
            (1, LARGEST[1], false),
            (1, LARGEST[2], false),
        ] {
            let decoders = Decoders::new();
            let _taken = decoders.0.acquire_many(taken).await;
            // What may run does in the end; what may not never does.
            let within = Duration::from_secs(if runs { 30 } else { 0 });
            let outcome = tokio::time::timeout(within, decoders.run(bytes, || ())).await;
            assert_eq!(outcome.is_ok_and(|outcome| outcome.is_ok()), runs, "{taken} {bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_turn_ends_with_the_work() {
        let decoders = Decoders::new();
        for _ in 0..3 {
            assert_eq!(decoders.run(None, || 7).await.ok(), Some(7));
        }
    }
}
