//! Calls into code of others, such as sinks and hooks. A panic there becomes an error here.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs `call`. Returns the message of its panic as an error.
pub(crate) fn catch_panic<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let message = message(&*panic);
        // Dropping the payload might panic again.
        std::mem::forget(panic);
        message
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

/// A future that may panic while it is polled and when it is dropped. Its panic becomes its output.
pub(crate) struct CatchPanic<F>(Option<Pin<Box<F>>>);

impl<F: Future> CatchPanic<F> {
    pub(crate) fn new(call: F) -> Self {
        Self(Some(Box::pin(call)))
    }
}

impl<F: Future> Future for CatchPanic<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(call) = &mut self.0 else { return Poll::Pending };
        match catch_panic(|| call.as_mut().poll(context)) {
            Ok(progress) => progress.map(Ok),
            Err(message) => Poll::Ready(Err(message)),
        }
    }
}

impl<F> Drop for CatchPanic<F> {
    fn drop(&mut self) {
        let call = self.0.take();
        if let Err(panic) = catch_panic(|| drop(call)) {
            tracing::error!(panic, "a cancelled call of a sink panicked");
        }
    }
}
