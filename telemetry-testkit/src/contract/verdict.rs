//! Runs a case of the contract and reports how it ended.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::{DEADLINE, block_on};

/// How a case ended. `Err` describes how the sink breaks the clause.
pub type Verdict = Result<(), String>;

/// How long a whole case may take. A case that hangs is a broken clause and must not block the test run.
const CASE_LIMIT: Duration = DEADLINE.saturating_mul(2);

/// Runs a case to its end, on a runtime like that of a sink's thread. A panic is a broken clause.
pub fn run(case: impl Future<Output = Verdict>) -> Verdict {
    let case = AssertUnwindSafe(async {
        let ended = tokio::time::timeout(CASE_LIMIT, case).await;
        ended.unwrap_or_else(|_| Err(format!("the case did not end within {CASE_LIMIT:?}")))
    });
    match block_on(case.catch_unwind()) {
        Ok(verdict) => verdict,
        Err(panic) => Err(format!("panic: {}", panic_text(&*panic))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// Runs a case as a test.
///
/// # Panics
///
/// If the sink breaks the clause.
pub fn check(clause: &str, case: impl Future<Output = Verdict>) {
    if let Err(reason) = run(case) {
        panic!("{clause}: {reason}");
    }
}
