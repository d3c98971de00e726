//! Calls into code that is not ours: what panics there stays there.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs `call`. A panic becomes its text.
pub(crate) fn contained<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic_text(&*panic);
        // Dropping it might panic again.
        std::mem::forget(panic);
        text
    })
}

/// The text of a panic.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

/// A call that may panic while it runs, and when it is dropped.
pub(crate) struct Contained<F>(Option<Pin<Box<F>>>);

impl<F: Future> Contained<F> {
    pub(crate) fn new(call: F) -> Self {
        Self(Some(Box::pin(call)))
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(call) = &mut self.0 else { return Poll::Pending };
        match contained(|| call.as_mut().poll(context)) {
            Ok(progress) => progress.map(Ok),
            Err(text) => Poll::Ready(Err(text)),
        }
    }
}

impl<F> Drop for Contained<F> {
    fn drop(&mut self) {
        let call = self.0.take();
        if let Err(panic) = contained(|| drop(call)) {
            tracing::error!(panic, "a call that was given up panicked");
        }
    }
}
