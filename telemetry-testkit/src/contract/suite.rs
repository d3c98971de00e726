//! All clauses together: as tests, and as a list of those that a sink breaks.

use super::building::{c10_independence, c13_interest, c14_options, c15_secrets};
use super::delivery::{c1_lifecycle, c2_order, c3_once, c4_fidelity, c5_empty, c6_flush, c7_shutdown};
use super::faults::{c8_cancel, c9_retry, c11_outage, c12_recovery};
use super::verdict::run;
use crate::Harness;

/// Runs every clause. Returns the name of each clause that the sink breaks, and how.
pub fn violations<H: Harness>() -> Vec<(&'static str, String)> {
    macro_rules! verdicts {
        ($($clause:ident)+) => {
            [$((stringify!($clause), run($clause::<H>()))),+]
        };
    }
    let verdicts = verdicts! {
        c1_lifecycle c2_order c3_once c4_fidelity c5_empty c6_flush c7_shutdown c8_cancel c9_retry
        c10_independence c11_outage c12_recovery c13_interest c14_options c15_secrets
    };
    verdicts.into_iter().filter_map(|(clause, verdict)| Some((clause, verdict.err()?))).collect()
}

/// Makes one `#[test]` per clause of the sink contract, for the sink that a [`Harness`] describes.
///
/// A clause that does not apply to the sink is declared with the reason, and reported as ignored:
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
        // A misspelt clause is an error here. Without this line, the clause would be tested after all.
        $(const _: fn() = || drop($crate::contract::$clause::<$harness>());)*
        $crate::__sink_contract!(($) $harness, $($clause: $reason,)*);
    };
}

/// The tests of [`sink_contract!`](crate::sink_contract). Not for direct use.
///
/// It defines a macro with one rule per lacking clause, because a macro can compare a name only with a name in one of
/// its patterns. `$d` is a dollar sign for the inner macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __sink_contract {
    (($d:tt) $harness:ty, $($lacking:ident: $reason:literal,)*) => {
        macro_rules! __test_clauses {
            ($d($d clause:ident)+) => { $d(__test_clause!($d clause);)+ };
        }
        macro_rules! __test_clause {
            // An ignored test that is run all the same fails: it must never pass.
            $(($lacking) => {
                #[test]
                #[ignore = $reason]
                fn $lacking() {
                    $crate::contract::check(stringify!($lacking), async {
                        Err(concat!("lacking: ", $reason).to_owned())
                    });
                }
            };)*
            ($d clause:ident) => {
                #[test]
                fn $d clause() {
                    $crate::contract::check(
                        stringify!($d clause),
                        $crate::contract::$d clause::<$harness>(),
                    );
                }
            };
        }
        __test_clauses! {
            c1_lifecycle c2_order c3_once c4_fidelity c5_empty c6_flush c7_shutdown c8_cancel c9_retry
            c10_independence c11_outage c12_recovery c13_interest c14_options c15_secrets
        }
    };
}
