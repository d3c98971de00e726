//! A write that is abandoned and tried again stores nothing twice.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use support::Database;
use telemetry_core::{EventContext, Signal, SinkError, Written, attrs};
use telemetry_testkit::{Driver, Harness as _, block_on, signals};

/// One batch: a complete span, an incomplete one, an end that waits, a log and a metric point.
fn batch(number: u64) -> Vec<Signal> {
    let trace = u128::from(number);
    vec![
        signals::log(EventContext::Span(signals::key(trace, 1)), 1, format!("log {number}")),
        signals::metric("tokens", 1, 2, attrs! { "batch" => number }),
        signals::ended(signals::span(trace, 1, 0, 5)),
        signals::started(signals::open_span(trace, 2, 3)),
        signals::end_waiting(trace, 3, 4, attrs! {}),
    ]
}

fn count(database: &Database, sql: &str) -> u64 {
    let output =
        std::process::Command::new("sqlite3").arg("-readonly").arg(database.path()).arg(sql).output();
    let output = output.expect("sqlite3 is installed (Debian: apt-get install sqlite3)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Polls a write up to `times` times. Returns true if it ended.
async fn poll(write: impl Future<Output = Result<Written, SinkError>>, times: usize) -> bool {
    let mut write = pin!(write);
    for _ in 0..times {
        if let Poll::Ready(written) = write.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            written.unwrap();
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// Abandons writes after more and more polls: in the middle of a transaction, and between its commit and the answer.
#[test]
fn a_write_abandoned_at_any_moment_and_tried_again_is_stored_once() {
    block_on(async {
        let database = Database::new();
        let mut driver = Driver::new(database.build().await.unwrap());
        let (mut batches, mut abandoned, mut committed) = (0, 0, 0);
        let mut polls = 1;
        while committed == 0 || abandoned < 100 {
            assert!(batches < 5_000, "{abandoned} abandoned, {committed} of them after the commit");
            batches += 1;
            if poll(driver.write(batch(batches)), polls).await {
                // It ended in time: start again with one poll.
                polls = 1;
                continue;
            }
            polls += polls / 16 + 1;
            abandoned += 1;
            committed +=
                count(&database, &format!("SELECT count(*) FROM logs WHERE message = 'log {batches}'"));
            driver.write_again().await.unwrap();
        }
        let sums = [
            ("SELECT count(*) FROM logs", batches),
            ("SELECT count(*) FROM metrics", batches),
            ("SELECT sum(value) FROM metrics", batches),
            ("SELECT count(*) FROM spans", 2 * batches),
            ("SELECT count(*) FROM traces", batches),
            ("SELECT count(*) FROM end_waiting", batches),
        ];
        for (sql, expected) in sums {
            assert_eq!(count(&database, sql), expected, "{sql}");
        }
        driver.shutdown().await.unwrap();
    });
}
