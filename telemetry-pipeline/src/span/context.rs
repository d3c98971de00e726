//! The context of a span, and the current span: of a thread in plain code, of a future in async code.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use telemetry_core::SpanKey;

/// What spans below need to know of a span, on other threads and in other tasks: its ids, and the
/// `tracestate` of the trace that it continues.
///
/// A [`SpanKey`] converts to a context without a `tracestate`.
///
/// ```
/// use telemetry_core::attrs;
/// use telemetry_pipeline::{SpanContext, Telemetry};
///
/// # let telemetry = Telemetry::disabled();
/// let remote = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse()?;
/// let request = telemetry.continue_trace(remote, "POST /chat", attrs! { "tracestate" => "vendor=1" });
/// let _entered = request.enter();
/// let current = SpanContext::current().expect("a span was entered");
/// assert_eq!((current.key(), current.tracestate()), (request.key(), Some("vendor=1")));
/// # Ok::<(), telemetry_pipeline::TraceParentError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanContext {
    key: SpanKey,
    trace_state: Option<Arc<str>>,
}

impl SpanContext {
    pub(super) const fn new(key: SpanKey, trace_state: Option<Arc<str>>) -> Self {
        Self { key, trace_state }
    }

    /// Returns the context of the span that code on this thread is in, if any.
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(|current| current.span.clone())
    }

    /// Returns the trace and span id.
    pub const fn key(&self) -> SpanKey {
        self.key
    }

    /// Returns the W3C `tracestate` for requests to other processes. It is the header of the caller whose
    /// trace this span, or one above it, continues. An invalid header is not passed on.
    pub fn tracestate(&self) -> Option<&str> {
        self.trace_state.as_deref()
    }

    /// Returns the context of a span below.
    pub(super) fn of_child(self, key: SpanKey) -> Self {
        Self { key, ..self }
    }
}

impl From<SpanKey> for SpanContext {
    fn from(key: SpanKey) -> Self {
        Self::new(key, None)
    }
}

/// The current span, and the number of the [`Entered`] that set it. The number is 0 if none of this thread
/// did.
#[derive(Debug)]
struct Current {
    span: Option<SpanContext>,
    entered: u64,
}

const NONE: Current = Current { span: None, entered: 0 };

thread_local! {
    // It is never dropped, so that it can be read without a check, also while the thread ends. A forgotten
    // guard leaks its context.
    static CURRENT: RefCell<ManuallyDrop<Current>> = const { RefCell::new(ManuallyDrop::new(NONE)) };
    static ENTERED: Cell<u64> = const { Cell::new(0) };
    /// Guards that were dropped before guards entered after them, and what was current before each.
    static DROPPED_EARLY: RefCell<Vec<(u64, Current)>> = const { RefCell::new(Vec::new()) };
}

/// Guards dropped out of order that are remembered. A program that leaks guards exceeds it.
const MAX_DROPPED_EARLY: usize = 64;

/// Returns the span that code on this thread is in, if any.
pub fn current_span() -> Option<SpanKey> {
    CURRENT.with_borrow(|current| current.span.as_ref().map(SpanContext::key))
}

/// Sets what is current and returns what was current before.
fn replace(current: Current) -> Current {
    ManuallyDrop::into_inner(CURRENT.replace(ManuallyDrop::new(current)))
}

/// Makes `span` the current one of this thread until the returned guard is dropped.
///
/// This is for plain code. Async code uses [`InSpan`], because a thread runs many futures.
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

/// Leaves the current span of this thread until the returned guard is dropped.
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

/// A guard that keeps a span current. When it is dropped, the span before is current again. Guards may be
/// dropped in any order: the current span is that of the latest guard that still exists.
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
            replace(latest_existing(before));
        } else {
            // A guard entered after this one still exists. Its drop must not make this span current again.
            let _ = DROPPED_EARLY.try_with(|dropped| {
                let mut dropped = dropped.borrow_mut();
                if dropped.len() == MAX_DROPPED_EARLY {
                    dropped.remove(0);
                }
                dropped.push((self.number, before));
            });
        }
    }
}

/// Returns `before`, or what was current before it if its guard was dropped already.
fn latest_existing(mut before: Current) -> Current {
    // A thread that is ending has dropped the list.
    let _ = DROPPED_EARLY.try_with(|dropped| {
        let mut dropped = dropped.borrow_mut();
        while let Some(place) = dropped.iter().position(|(number, _)| *number == before.entered) {
            before = dropped.swap_remove(place).1;
        }
    });
    before
}

pin_project! {
    /// A future that runs within a span, whichever thread polls it. Each future has current spans of its own.
    #[derive(Debug)]
    pub struct InSpan<F> {
        #[pin]
        future: F,
        current: Current,
    }
}

impl<F> InSpan<F> {
    /// Runs `future` within `span`, or outside of any span if that is `None`.
    pub const fn new(future: F, span: Option<SpanContext>) -> Self {
        Self { future, current: Current { span, entered: 0 } }
    }
}

/// Exchanges the thread's current span with a future's, and exchanges them back when it is dropped, also by a
/// panic.
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

    /// Runs this future within the span that is current now, also if it is spawned elsewhere.
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
    fn guards_dropped_in_any_order_leave_the_latest_existing_span() {
        // All orders of three guards.
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut guards: Vec<Option<Entered>> = (1..=3).map(|span| Some(enter(key(span)))).collect();
            for dropped in order {
                guards[dropped] = None;
                let latest = guards.iter().rposition(Option::is_some);
                let expected = latest.map(|place| key(place as u64 + 1));
                assert_eq!(current_span(), expected, "{order:?}, after {dropped}");
            }
            DROPPED_EARLY.with_borrow(|dropped| assert!(dropped.is_empty(), "{dropped:?}"));
        }
    }

    #[test]
    fn a_forgotten_guard_ends_with_its_thread() {
        std::thread::spawn(|| {
            std::mem::forget(enter(key(1)));
            assert_eq!(current_span(), Some(key(1)));
        })
        .join()
        .unwrap();
        assert_eq!(current_span(), None);
    }

    #[test]
    fn leaked_guards_use_bounded_memory() {
        let _outermost = enter(key(9));
        for _ in 0..1_000 {
            let early = enter(key(1));
            std::mem::forget(enter(key(2)));
            drop(early);
        }
        DROPPED_EARLY.with_borrow(|dropped| assert!(dropped.len() <= MAX_DROPPED_EARLY));
    }

    #[test]
    fn a_guard_that_lives_across_an_await_belongs_to_its_future() {
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
    fn a_panicking_future_restores_the_thread_s_current_span() {
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
