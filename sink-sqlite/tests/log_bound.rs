//! The write-ahead log is bounded, also where writes follow one another without a pause.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use support::Database;
use telemetry_core::{Signal, Span, attrs};
use telemetry_testkit::{Driver, Harness as _, block_on, signals};

/// Bytes that a span holds, and how many of them a batch has.
const SPAN: usize = 64 << 10;
const BATCH: u64 = 16;
/// Batches: three times as many bytes as the log may have.
const BATCHES: u64 = 256;
/// The log's bound, and room for what is written while it is copied.
const BOUND: u64 = (64 + 32) << 20;

#[test]
fn the_log_is_bounded_under_writing_without_a_pause() {
    block_on(async {
        let database = Database::new();
        let log = database.0.path().join("trace_store.db-wal");
        let mut driver = Driver::new(database.build().await.unwrap());
        let mut largest = 0;
        for batch in 0..BATCHES {
            let span = |number: u64| Span {
                attributes: attrs! { "text" => "x".repeat(SPAN) },
                ..signals::span(u128::from(batch + 1), batch * BATCH + number + 1, 0, 1)
            };
            let spans = (0..BATCH).map(|number| Signal::SpanEnded(Arc::new(span(number))));
            driver.write(spans.collect()).await.unwrap();
            largest = largest.max(std::fs::metadata(&log).unwrap().len());
        }
        let written = std::fs::metadata(database.path()).unwrap().len();
        assert!(written > 2 * BOUND, "{written} bytes in the file: the log has been copied and started over");
        assert!(largest < BOUND, "the log had {largest} bytes");
        driver.shutdown().await.unwrap();
    });
}
