//! The current span: of a thread in plain code, of a future in async code.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use telemetry_core::SpanKey;

use crate::SpanContext;

/// What is current, and which [`Entered`] made it so: 0 for none of this thread.
#[derive(Debug)]
struct Current {
    span: Option<SpanContext>,
    entered: u64,
}

const NONE: Current = Current { span: None, entered: 0 };

thread_local! {
    // Never dropped, so that it is at hand without a check while the thread ends, too: who forgets a guard
    // leaks what that guard holds.
    static CURRENT: RefCell<ManuallyDrop<Current>> = const { RefCell::new(ManuallyDrop::new(NONE)) };
    static ENTERED: Cell<u64> = const { Cell::new(0) };
    /// Guards dropped before those entered after them, and what was current before each.
    static PASSED: RefCell<Vec<(u64, Current)>> = const { RefCell::new(Vec::new()) };
}

/// Guards dropped out of order that are remembered. More are a leak of guards.
const MAX_PASSED: usize = 64;

/// The span that code on this thread is in, if any.
pub fn current_span() -> Option<SpanKey> {
    CURRENT.with_borrow(|current| current.span.as_ref().map(SpanContext::key))
}

impl SpanContext {
    /// What the span hands down that code on this thread is in, if any.
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(|current| current.span.clone())
    }
}

/// Makes `current` what is current and returns what was.
fn replace(current: Current) -> Current {
    ManuallyDrop::into_inner(CURRENT.replace(ManuallyDrop::new(current)))
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
pub fn enter(span: impl Into<SpanContext>) -> Entered {
    Entered::new(Some(span.into()))
}

/// Makes code on this thread be in no span until the returned guard is dropped.
///
/// ```
/// use telemetry_core::{SpanId, SpanKey, TraceId};
/// use telemetry_pipeline::{current_span, enter, leave};
///
/// let _entered = enter(SpanKey::new(TraceId::from_u128(1).unwrap(), SpanId::from_u64(2).unwrap()));
/// {
///     let _left = leave();
///     assert_eq!(current_span(), None);
/// }
/// assert!(current_span().is_some());
/// ```
#[must_use = "the span is left only while the guard lives"]
pub fn leave() -> Entered {
    Entered::new(None)
}

/// The span is current while this lives; then the one before is again. Guards may be dropped in any
/// order: the current span is that of the latest one that lives.
#[derive(Debug)]
pub struct Entered {
    before: Current,
    number: u64,
    not_send: std::marker::PhantomData<*const ()>,
}

impl Entered {
    fn new(span: Option<SpanContext>) -> Self {
        let number = ENTERED.get() + 1;
        ENTERED.set(number);
        let before = replace(Current { span, entered: number });
        Self { before, number, not_send: std::marker::PhantomData }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut self.before, NONE);
        if CURRENT.with_borrow(|current| current.entered) == self.number {
            replace(last_living(before));
        } else {
            // Another was entered after this one and lives: what it goes back to must not be this.
            let _ = PASSED.try_with(|passed| {
                let mut passed = passed.borrow_mut();
                if passed.len() == MAX_PASSED {
                    passed.remove(0);
                }
                passed.push((self.number, before));
            });
        }
    }
}

/// `before`, or what was current before it, if its guard is gone already.
fn last_living(mut before: Current) -> Current {
    // A thread that is ending has dropped the list.
    let _ = PASSED.try_with(|passed| {
        let mut passed = passed.borrow_mut();
        while let Some(place) = passed.iter().position(|(number, _)| *number == before.entered) {
            before = passed.swap_remove(place).1;
        }
    });
    before
}

pin_project! {
    /// A future that runs within a span, whichever thread polls it. Two futures never share a stack.
    #[derive(Debug)]
    pub struct InSpan<F> {
        #[pin]
        future: F,
        current: Current,
    }
}

impl<F> InSpan<F> {
    /// Runs `future` within `span`; with `None`, outside of any.
    pub const fn new(future: F, span: Option<SpanContext>) -> Self {
        Self { future, current: Current { span, entered: 0 } }
    }
}

/// Exchanges the thread's current span with a future's, and back when dropped, also by a panic.
struct Exchanged<'a>(&'a mut Current);

impl<'a> Exchanged<'a> {
    fn new(current: &'a mut Current) -> Self {
        exchange(current);
        Self(current)
    }
}

impl Drop for Exchanged<'_> {
    fn drop(&mut self) {
        exchange(self.0);
    }
}

fn exchange(current: &mut Current) {
    CURRENT.with_borrow_mut(|here| std::mem::swap(&mut **here, current));
}

impl<F: Future> Future for InSpan<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _exchanged = Exchanged::new(this.current);
        this.future.poll(context)
    }
}

/// Puts a future into a span.
pub trait FutureExt: Future + Sized {
    /// Runs this future within `span`.
    fn in_span(self, span: impl Into<SpanContext>) -> InSpan<Self> {
        InSpan::new(self, Some(span.into()))
    }

    /// Runs this future, spawned elsewhere, within the span that is current now.
    fn in_current_span(self) -> InSpan<Self> {
        InSpan::new(self, SpanContext::current())
    }
}

impl<F: Future> FutureExt for F {}

#[cfg(test)]
mod tests {
    use telemetry_core::{SpanId, TraceId};

    use super::*;

    fn key(span: u64) -> SpanKey {
        SpanKey::new(TraceId::from_u128(1).unwrap(), SpanId::from_u64(span).unwrap())
    }

    #[test]
    fn guards_dropped_in_any_order_leave_the_latest_living_span() {
        // Every order in which three guards may be dropped.
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut guards: Vec<Option<Entered>> = (1..=3).map(|span| Some(enter(key(span)))).collect();
            for dropped in order {
                guards[dropped] = None;
                let living = guards.iter().rposition(Option::is_some);
                let expected = living.map(|place| key(place as u64 + 1));
                assert_eq!(current_span(), expected, "{order:?}, after {dropped}");
            }
            PASSED.with_borrow(|passed| assert!(passed.is_empty(), "{passed:?}"));
        }
    }

    #[test]
    fn a_guard_that_is_forgotten_ends_with_the_thread() {
        std::thread::spawn(|| {
            std::mem::forget(enter(key(1)));
            assert_eq!(current_span(), Some(key(1)));
        })
        .join()
        .unwrap();
        assert_eq!(current_span(), None);
    }

    #[test]
    fn guards_that_leak_take_no_more_memory() {
        let _outermost = enter(key(9));
        for _ in 0..1_000 {
            let passed = enter(key(1));
            std::mem::forget(enter(key(2)));
            drop(passed);
        }
        PASSED.with_borrow(|passed| assert!(passed.len() <= MAX_PASSED));
    }

    #[test]
    fn a_guard_held_across_an_await_belongs_to_its_future() {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut future = Box::pin(InSpan::new(
            async {
                let _inner = enter(key(2));
                yield_once().await;
                assert_eq!(current_span(), Some(key(2)));
            },
            Some(key(1).into()),
        ));
        assert!(future.as_mut().poll(&mut context).is_pending());
        assert_eq!(current_span(), None, "another future on this thread is in no span");
        assert!(future.as_mut().poll(&mut context).is_ready());
        assert_eq!(current_span(), None);
    }

    #[test]
    fn a_future_that_panics_leaves_the_thread_as_it_was() {
        let mut future = Box::pin(async { panic!("on purpose") }.in_span(key(1)));
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _: Poll<()> = future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()));
        }));
        assert!(polled.is_err());
        assert_eq!(current_span(), None);
    }

    async fn yield_once() {
        let mut yielded = false;
        std::future::poll_fn(|_| {
            if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
