//! Deadlines: of any future on any runtime, and of the pipeline's shutdown.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Returns the time that lies `within` ahead. A time that is too far for the clock becomes one in a hundred years.
pub(crate) fn after(within: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    let now = Instant::now();
    now.checked_add(within).unwrap_or_else(|| now + CENTURY)
}

/// Waits for `future`, at most until `deadline`. Returns `None` if the deadline passes first.
///
/// A thread of its own keeps the deadline, so no timer of the caller's runtime is needed.
pub(crate) async fn until<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
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
            let thread = std::thread::Builder::new().name("telemetry-deadline".into());
            let spawned = thread.spawn(move || wake_at(&shared, deadline));
            if spawned.is_err() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

fn wake_at(shared: &Shared, deadline: Instant) {
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

/// The time at which workers must stop retrying. It is set when a shutdown begins.
#[derive(Clone, Debug)]
pub(crate) struct GiveUpAt(watch::Receiver<Option<tokio::time::Instant>>);

impl GiveUpAt {
    /// Returns a sender for the time, and a receiver to be cloned for each worker.
    pub(crate) fn channel() -> (watch::Sender<Option<tokio::time::Instant>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    /// Returns the time, if a shutdown has begun, and marks it as seen.
    pub(crate) fn get(&mut self) -> Option<tokio::time::Instant> {
        *self.0.borrow_and_update()
    }

    /// Returns true if a shutdown has begun and the time has passed.
    pub(crate) fn has_passed(&self) -> bool {
        self.0.borrow().is_some_and(|at| tokio::time::Instant::now() >= at)
    }

    /// Waits until a shutdown begins or the pipeline is gone. Returns false in the second case.
    pub(crate) async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    /// Waits until a shutdown has begun and the time has passed, or the pipeline is gone.
    pub(crate) async fn passed(&mut self) {
        loop {
            let at = self.get();
            tokio::select! {
                () = tokio::time::sleep_until(at.unwrap_or_else(tokio::time::Instant::now)), if at.is_some() => return,
                exists = self.changed() => if !exists { return },
            }
        }
    }
}
