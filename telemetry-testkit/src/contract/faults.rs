//! C8, C9, C11, C12: what may go wrong, and how the sink comes through.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use telemetry_core::Action;

use super::Verdict;
use super::material::{families, family};
use super::trial::{Compare, Trial};
use crate::Harness;

/// C8 cancel: a write that is dropped at any await leaves the sink usable, and the batch may come again; to
/// a store, without doubling anything. What was written before is there also when nothing follows but
/// the shutdown.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c8_cancel<H: Harness>() -> Verdict {
    let mut trial = Trial::<H>::start().await?;
    for polls in 1..=12 {
        let signals = families(polls * 10..polls * 10 + 5);
        trial.note(&signals);
        let answer = poll_times(polls, trial.driver.write(signals)).await;
        if let Some(Err(error)) = answer {
            return Err(format!("a write after a cancelled one fails: {}", error.full_text()));
        }
        if answer.is_none() {
            let again = trial.driver.write_again().await;
            again.map_err(|error| {
                format!("after a write dropped at its poll {polls} the batch fails: {}", error.full_text())
            })?;
        }
    }
    let is_store = trial.driver.store().is_some();
    trial.finish(if is_store { Compare::Exactly } else { Compare::AtLeastOnce }).await?;
    // A shutdown that never flushes is another clause.
    if shut_down_after::<H>(0).await.is_ok() { shut_down_after::<H>(1).await } else { Ok(()) }
}

/// What was written is there after a write that was dropped at this poll, and a shutdown; 0 is no write.
async fn shut_down_after<H: Harness>(polls: u32) -> Verdict {
    let mut trial = Trial::<H>::start().await?;
    trial.write(families(0..3)).await?;
    if polls > 0 {
        let _ = poll_times(polls, trial.driver.write(families(3..6))).await;
    }
    trial.shut_down_and_compare(Compare::AtLeastOnce).await
}

/// Polls a future so many times, then drops it; `None` if it was not ready by then.
async fn poll_times<T>(polls: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(move |context| match future.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if left <= 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// C9 retry: a batch that failed half-way and comes again doubles nothing; a store also recognises a
/// batch that it has.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c9_retry<H: Harness>() -> Verdict {
    /// Whether the sink recovers at all is another clause.
    const PATIENCE: Duration = Duration::from_secs(2);

    let mut trial = Trial::<H>::start().await?;
    trial.write(families(0..5)).await?;
    let is_store = trial.driver.store().is_some();
    if is_store {
        let again = trial.driver.write_again().await;
        again.map_err(|error| format!("a batch that is stored already fails: {}", error.full_text()))?;
    }
    let can_break = trial.harness.break_destination().await;
    if can_break {
        let answer = trial.offer(families(5..10)).await;
        trial.harness.mend_destination().await;
        if answer.is_err() {
            // Not delivered in the end: then nothing is doubled either.
            let _ = trial.write_again_until_ok(PATIENCE).await;
        }
    }
    if !is_store && !can_break {
        return Err(nothing_to_break("c9_retry"));
    }
    // A destination that was broken may have shut the sink out for good, which is another clause.
    let _ = trial.flush().await;
    trial.compare(Compare::AtMostOnce).await
}

/// C11 outage: while the destination is out of order, writes fail with [`Action::Retry`].
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c11_outage<H: Harness>() -> Verdict {
    let mut trial = Trial::<H>::start().await?;
    trial.write(family(0)).await?;
    if !trial.harness.break_destination().await {
        return Err(nothing_to_break("c11_outage"));
    }
    for number in 1..3 {
        match trial.offer(families(number * 10..number * 10 + 5)).await {
            Ok(_) => return Err("a write to a destination out of order is answered with success".to_owned()),
            Err(error) if matches!(error.action(), Action::Retry { .. }) => {}
            Err(error) => {
                return Err(format!(
                    "an outage that may pass is answered with {:?}: {}",
                    error.action(),
                    error.full_text()
                ));
            }
        }
    }
    trial.harness.mend_destination().await;
    Ok(())
}

/// C12 recovery: when the destination is in order again, so is the sink, and nothing it was given is missing.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c12_recovery<H: Harness>() -> Verdict {
    /// Far longer than a sink needs that merely tries again.
    const PATIENCE: Duration = Duration::from_secs(5);

    let mut trial = Trial::<H>::start().await?;
    trial.write(family(0)).await?;
    if !trial.harness.break_destination().await {
        return Err(nothing_to_break("c12_recovery"));
    }
    let answer = trial.offer(families(1..6)).await;
    trial.harness.mend_destination().await;
    if answer.is_err() {
        trial
            .write_again_until_ok(PATIENCE)
            .await
            .map_err(|why| format!("with its destination in order: {why}"))?;
    }
    trial.write(family(6)).await?;
    trial.finish(Compare::AtLeastOnce).await
}

fn nothing_to_break(clause: &str) -> String {
    format!(
        "the harness can't put the destination out of order: implement break_destination, or declare `{clause}` as lacking"
    )
}
