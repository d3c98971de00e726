//! Waiting for a future until a deadline, on any runtime or none.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Waits for `future`, at most until `deadline`; `None` when that passes first.
///
/// The deadline is kept by a thread of its own, so no timer of the caller's runtime is needed.
pub(crate) async fn at<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut alarm = Alarm { deadline, shared: None };
    std::future::poll_fn(move |context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        Pin::new(&mut alarm).poll(context).map(|()| None)
    })
    .await
}

struct Alarm {
    deadline: Instant,
    shared: Option<Arc<Shared>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    cancelled: Condvar,
}

#[derive(Default)]
struct State {
    waker: Option<Waker>,
    cancelled: bool,
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.deadline {
            return Poll::Ready(());
        }
        let deadline = self.deadline;
        let is_new = self.shared.is_none();
        let shared = Arc::clone(self.shared.get_or_insert_default());
        shared.state.lock().unwrap_or_else(PoisonError::into_inner).waker = Some(context.waker().clone());
        if is_new {
            let keeper = std::thread::Builder::new().name("telemetry-deadline".into());
            let spawned = keeper.spawn(move || ring(&shared, deadline));
            if spawned.is_err() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

fn ring(shared: &Shared, deadline: Instant) {
    let state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    let left = deadline.saturating_duration_since(Instant::now());
    let waited = shared.cancelled.wait_timeout_while(state, left, |state| !state.cancelled);
    let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
    if let Some(waker) = state.waker.take() {
        waker.wake();
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.state.lock().unwrap_or_else(PoisonError::into_inner).cancelled = true;
            shared.cancelled.notify_all();
        }
    }
}
