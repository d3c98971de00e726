//! C8, C9, C11, C12: how the sink behaves when a write is dropped or the destination fails.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use telemetry_core::Action;

use super::compare::Compare;
use super::input::{one_span, spans};
use super::sink_under_test::SinkUnderTest;
use super::verdict::Verdict;
use crate::Harness;

/// C8 cancel: a write that is dropped at any await leaves the sink usable, and the batch can be written again. A store
/// then holds nothing twice. Earlier batches arrive even if only a shutdown follows.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c8_cancel<H: Harness>() -> Verdict {
    let mut sink = SinkUnderTest::<H>::start().await?;
    for polls in 1..=12 {
        let signals = spans(polls * 10..polls * 10 + 5);
        sink.count_written(&signals);
        let answer = poll_times(polls, sink.driver.write(signals)).await;
        if let Some(Err(error)) = answer {
            return Err(format!("a write after a dropped one fails: {}", error.full_text()));
        }
        if answer.is_none() {
            let again = sink.driver.write_again().await;
            again.map_err(|error| {
                format!("after its write was dropped at poll {polls}, the batch fails: {}", error.full_text())
            })?;
        }
    }
    let is_store = sink.driver.store().is_some();
    sink.finish(if is_store { Compare::Exactly } else { Compare::AtLeastOnce }).await?;
    // Skipped if the shutdown never flushes: that breaks another clause.
    if shut_down_after::<H>(0).await.is_ok() { shut_down_after::<H>(1).await } else { Ok(()) }
}

/// Shuts down right after a write that was dropped at this poll, and checks the batch before it. 0 polls means no write.
async fn shut_down_after<H: Harness>(polls: u32) -> Verdict {
    let mut sink = SinkUnderTest::<H>::start().await?;
    sink.write(spans(0..3)).await?;
    if polls > 0 {
        let _ = poll_times(polls, sink.driver.write(spans(3..6))).await;
    }
    sink.shut_down_and_compare(Compare::AtLeastOnce).await
}

/// Polls a future this many times, then drops it. Returns `None` if it was not ready by then.
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

/// C9 retry: a batch that failed half-way and is written again is not stored twice. A store also recognises a batch
/// that it has committed.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c9_retry<H: Harness>() -> Verdict {
    /// Short, because recovery is another clause.
    const PATIENCE: Duration = Duration::from_secs(2);

    let mut sink = SinkUnderTest::<H>::start().await?;
    sink.write(spans(0..5)).await?;
    let is_store = sink.driver.store().is_some();
    if is_store {
        let again = sink.driver.write_again().await;
        again.map_err(|error| {
            format!("a batch that is stored already fails when it is written again: {}", error.full_text())
        })?;
    }
    let can_break = sink.harness.break_destination().await;
    if can_break {
        let answer = sink.try_write(spans(5..10)).await;
        sink.harness.restore_destination().await;
        if answer.is_err() {
            // If the batch is never delivered, nothing is stored twice.
            let _ = sink.write_again_until_ok(PATIENCE).await;
        }
    }
    if !is_store && !can_break {
        return Err(cannot_break("c9_retry"));
    }
    // The flush may fail if the sink does not recover, which is another clause.
    let _ = sink.flush().await;
    sink.compare(Compare::AtMostOnce).await
}

/// C11 outage: while the destination is broken, writes fail with [`Action::Retry`].
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c11_outage<H: Harness>() -> Verdict {
    let mut sink = SinkUnderTest::<H>::start().await?;
    sink.write(one_span(0)).await?;
    if !sink.harness.break_destination().await {
        return Err(cannot_break("c11_outage"));
    }
    for number in 1..3 {
        match sink.try_write(spans(number * 10..number * 10 + 5)).await {
            Ok(_) => return Err("a write succeeds although the destination is broken".to_owned()),
            Err(error) if matches!(error.action(), Action::Retry { .. }) => {}
            Err(error) => {
                return Err(format!(
                    "a write fails with {:?} instead of `Retry` while the destination is broken: {}",
                    error.action(),
                    error.full_text()
                ));
            }
        }
    }
    sink.harness.restore_destination().await;
    Ok(())
}

/// C12 recovery: when the destination works again, so does the sink, and nothing that was written is missing.
///
/// # Errors
///
/// How the sink breaks the clause.
pub async fn c12_recovery<H: Harness>() -> Verdict {
    /// Far longer than a sink needs for one more try.
    const PATIENCE: Duration = Duration::from_secs(5);

    let mut sink = SinkUnderTest::<H>::start().await?;
    sink.write(one_span(0)).await?;
    if !sink.harness.break_destination().await {
        return Err(cannot_break("c12_recovery"));
    }
    let answer = sink.try_write(spans(1..6)).await;
    sink.harness.restore_destination().await;
    if answer.is_err() {
        sink.write_again_until_ok(PATIENCE)
            .await
            .map_err(|reason| format!("the destination works again: {reason}"))?;
    }
    sink.write(one_span(6)).await?;
    sink.finish(Compare::AtLeastOnce).await
}

fn cannot_break(clause: &str) -> String {
    format!(
        "the harness can't break the destination: implement `break_destination`, or declare `{clause}` as lacking"
    )
}
