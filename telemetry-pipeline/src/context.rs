//! The current span: of a thread in plain code, of a future in async code.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use telemetry_core::SpanKey;

thread_local! {
    static CURRENT: Cell<Option<SpanKey>> = const { Cell::new(None) };
}

/// The span that code on this thread is in, if any.
pub fn current_span() -> Option<SpanKey> {
    CURRENT.get()
}

/// Makes `span` the current one of this thread until the returned guard is dropped.
///
/// For plain code. In async code use [`InSpan`]: a thread runs many futures.
///
/// ```
/// use telemetry_core::{SpanId, SpanKey, TraceId};
/// use telemetry_pipeline::{current_span, enter};
///
/// let key = SpanKey::new(TraceId::from_u128(1).unwrap(), SpanId::from_u64(2).unwrap());
/// {
///     let _entered = enter(key);
///     assert_eq!(current_span(), Some(key));
/// }
/// assert_eq!(current_span(), None);
/// ```
#[must_use = "the span is current only while the guard lives"]
pub fn enter(span: SpanKey) -> Entered {
    Entered { before: CURRENT.replace(Some(span)), not_send: std::marker::PhantomData }
}

/// The span is current while this lives; then the one before is again.
#[derive(Debug)]
pub struct Entered {
    before: Option<SpanKey>,
    not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

pin_project! {
    /// A future that runs within a span, whichever thread polls it. Two futures never share a stack.
    #[derive(Debug)]
    pub struct InSpan<F> {
        #[pin]
        future: F,
        span: Option<SpanKey>,
    }
}

impl<F> InSpan<F> {
    /// Runs `future` within `span`; with `None`, outside of any.
    pub const fn new(future: F, span: Option<SpanKey>) -> Self {
        Self { future, span }
    }
}

impl<F: Future> Future for InSpan<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let before = CURRENT.replace(*this.span);
        let _entered = Entered { before, not_send: std::marker::PhantomData };
        this.future.poll(context)
    }
}

/// Puts a future into a span.
pub trait FutureExt: Future + Sized {
    /// Runs this future within `span`.
    fn in_span(self, span: SpanKey) -> InSpan<Self> {
        InSpan::new(self, Some(span))
    }

    /// Runs this future, spawned elsewhere, within the span that is current now.
    fn in_current_span(self) -> InSpan<Self> {
        InSpan::new(self, current_span())
    }
}

impl<F: Future> FutureExt for F {}
