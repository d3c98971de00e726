//! The contract of [`telemetry_core::Sink`], a case per clause.
//!
//! [`sink_contract!`](crate::sink_contract) makes one `#[test]` per clause for a sink that a
//! [`Harness`] describes. What a sink has no use for is declared with a reason, and reported by the
//! test harness as *ignored* with that reason; a clause is never passed by leaving it out.
//!
//! Each case breaks for one reason only: it reads what it needs and overlooks what other clauses
//! cover. The kit's own tests hold it to that with a broken sink per clause.

mod building;
mod delivery;
mod faults;
mod log_capture;
mod material;
mod trial;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use crate::{DEADLINE, Harness, block_on};

pub use building::{c10_independence, c13_interest, c14_options, c15_secrets};
pub use delivery::{c1_lifecycle, c2_order, c3_once, c4_fidelity, c5_empty, c6_flush, c7_shutdown};
pub use faults::{c8_cancel, c9_retry, c11_outage, c12_recovery};

/// How a case ended: `Err` says in which way the sink breaks the clause.
pub type Verdict = Result<(), String>;

/// A whole case may take this long; a case that hangs is a broken clause, not a hanging test run.
const CASE_LIMIT: std::time::Duration = DEADLINE.saturating_mul(2);

/// Runs a case to its end, on a runtime like that of a sink's thread.
pub fn run(case: impl Future<Output = Verdict>) -> Verdict {
    let case = AssertUnwindSafe(async {
        let ended = tokio::time::timeout(CASE_LIMIT, case).await;
        ended.unwrap_or_else(|_| Err(format!("no end within {CASE_LIMIT:?}")))
    });
    match block_on(case.catch_unwind()) {
        Ok(verdict) => verdict,
        Err(panic) => Err(format!("panic: {}", panic_text(&*panic))),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// Runs a case as a test.
///
/// # Panics
///
/// When the sink breaks the clause.
pub fn check(clause: &str, case: impl Future<Output = Verdict>) {
    if let Err(why) = run(case) {
        panic!("{clause}: {why}");
    }
}

/// The clauses that a sink breaks, each with how: for tests of this kit, and for a first look at a sink.
pub fn violations<H: Harness>() -> Vec<(&'static str, String)> {
    let verdicts = [
        ("c1_lifecycle", run(c1_lifecycle::<H>())),
        ("c2_order", run(c2_order::<H>())),
        ("c3_once", run(c3_once::<H>())),
        ("c4_fidelity", run(c4_fidelity::<H>())),
        ("c5_empty", run(c5_empty::<H>())),
        ("c6_flush", run(c6_flush::<H>())),
        ("c7_shutdown", run(c7_shutdown::<H>())),
        ("c8_cancel", run(c8_cancel::<H>())),
        ("c9_retry", run(c9_retry::<H>())),
        ("c10_independence", run(c10_independence::<H>())),
        ("c11_outage", run(c11_outage::<H>())),
        ("c12_recovery", run(c12_recovery::<H>())),
        ("c13_interest", run(c13_interest::<H>())),
        ("c14_options", run(c14_options::<H>())),
        ("c15_secrets", run(c15_secrets::<H>())),
    ];
    verdicts.into_iter().filter_map(|(clause, verdict)| Some((clause, verdict.err()?))).collect()
}

/// Makes one `#[test]` per clause of the sink contract, for the sink that a [`Harness`] describes.
///
/// Clauses the sink has no use for are declared with the reason, and reported as ignored:
///
/// ```
/// # use telemetry_core::{Options, SinkEntry};
/// # use telemetry_testkit::{Delivered, Harness, READY_MADE};
/// # struct MyHarness;
/// # #[async_trait::async_trait]
/// # impl Harness for MyHarness {
/// #     fn new() -> Self { Self }
/// #     fn entry(&self) -> &'static SinkEntry { &READY_MADE }
/// #     fn options(&self) -> Options { Options::default() }
/// #     async fn delivered(&self) -> Delivered { Delivered::default() }
/// # }
/// telemetry_testkit::sink_contract!(MyHarness, lacks {
///     c15_secrets: "takes no secret",
/// });
/// ```
///
/// ```text
/// test c14_options ... ok
/// test c15_secrets ... ignored, takes no secret
/// ```
#[macro_export]
macro_rules! sink_contract {
    ($harness:ty) => {
        $crate::sink_contract!($harness, lacks {});
    };
    ($harness:ty, lacks { $($clause:ident: $reason:literal),* $(,)? }) => {
        // A misspelt clause is an error here, not a clause that is tested after all.
        $(const _: fn() = || drop($crate::contract::$clause::<$harness>());)*
        $crate::__clause!(c1_lifecycle, $harness, [$($clause: $reason),*]);
        $crate::__clause!(c2_order, $harness, [$($clause: $reason),*]);
        $crate::__clause!(c3_once, $harness, [$($clause: $reason),*]);
        $crate::__clause!(c4_fidelity, $harness, [$($clause: $reason),*]);
        $crate::__clause!(c5_empty, $harness, [$($clause: $reason),*]);
        $crate::__clause!(c6_flush, $harness, [$($clause: $reason),*]);
        $crate::__clause!(c7_shutdown, $harness, [$($clause: $reason),*]);
        $crate::__clause!(c8_cancel, $harness, [$($clause: $reason),*]);
        $crate::__clause!(c9_retry, $harness, [$($clause: $reason),*]);
        $crate::__clause!(c10_independence, $harness, [$($clause: $reason),*]);
        $crate::__clause!(c11_outage, $harness, [$($clause: $reason),*]);
        $crate::__clause!(c12_recovery, $harness, [$($clause: $reason),*]);
        $crate::__clause!(c13_interest, $harness, [$($clause: $reason),*]);
        $crate::__clause!(c14_options, $harness, [$($clause: $reason),*]);
        $crate::__clause!(c15_secrets, $harness, [$($clause: $reason),*]);
    };
}

/// One test of [`sink_contract!`](crate::sink_contract): ignored with its reason if the clause is in
/// the list. Not for direct use.
#[doc(hidden)]
#[macro_export]
macro_rules! __clause {
    // Macros compare names only with names in their patterns.
    (c1_lifecycle, $h:ty, [c1_lifecycle: $why:literal $($rest:tt)*]) => { $crate::__lacking!(c1_lifecycle, $why); };
    (c2_order, $h:ty, [c2_order: $why:literal $($rest:tt)*]) => { $crate::__lacking!(c2_order, $why); };
    (c3_once, $h:ty, [c3_once: $why:literal $($rest:tt)*]) => { $crate::__lacking!(c3_once, $why); };
    (c4_fidelity, $h:ty, [c4_fidelity: $why:literal $($rest:tt)*]) => { $crate::__lacking!(c4_fidelity, $why); };
    (c5_empty, $h:ty, [c5_empty: $why:literal $($rest:tt)*]) => { $crate::__lacking!(c5_empty, $why); };
    (c6_flush, $h:ty, [c6_flush: $why:literal $($rest:tt)*]) => { $crate::__lacking!(c6_flush, $why); };
    (c7_shutdown, $h:ty, [c7_shutdown: $why:literal $($rest:tt)*]) => { $crate::__lacking!(c7_shutdown, $why); };
    (c8_cancel, $h:ty, [c8_cancel: $why:literal $($rest:tt)*]) => { $crate::__lacking!(c8_cancel, $why); };
    (c9_retry, $h:ty, [c9_retry: $why:literal $($rest:tt)*]) => { $crate::__lacking!(c9_retry, $why); };
    (c10_independence, $h:ty, [c10_independence: $why:literal $($rest:tt)*]) => { $crate::__lacking!(c10_independence, $why); };
    (c11_outage, $h:ty, [c11_outage: $why:literal $($rest:tt)*]) => { $crate::__lacking!(c11_outage, $why); };
    (c12_recovery, $h:ty, [c12_recovery: $why:literal $($rest:tt)*]) => { $crate::__lacking!(c12_recovery, $why); };
    (c13_interest, $h:ty, [c13_interest: $why:literal $($rest:tt)*]) => { $crate::__lacking!(c13_interest, $why); };
    (c14_options, $h:ty, [c14_options: $why:literal $($rest:tt)*]) => { $crate::__lacking!(c14_options, $why); };
    (c15_secrets, $h:ty, [c15_secrets: $why:literal $($rest:tt)*]) => { $crate::__lacking!(c15_secrets, $why); };
    ($clause:ident, $h:ty, [$other:ident: $why:literal $(, $($rest:tt)*)?]) => {
        $crate::__clause!($clause, $h, [$($($rest)*)?]);
    };
    ($clause:ident, $h:ty, []) => {
        #[test]
        fn $clause() {
            $crate::contract::check(stringify!($clause), $crate::contract::$clause::<$h>());
        }
    };
}

/// A clause that is declared as lacking. Run all the same, it fails: it never passes. Not for direct use.
#[doc(hidden)]
#[macro_export]
macro_rules! __lacking {
    ($clause:ident, $why:literal) => {
        #[test]
        #[ignore = $why]
        fn $clause() {
            $crate::contract::check(stringify!($clause), async {
                Err(concat!("lacking: ", $why).to_owned())
            });
        }
    };
}
