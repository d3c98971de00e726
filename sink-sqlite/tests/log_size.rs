//! The write-ahead log stays below a limit, also while writes follow one another without a pause.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use support::Database;
use telemetry_core::{Signal, Span, attrs};
use telemetry_testkit::{Driver, Harness as _, block_on, signals};

/// Bytes of a span, and spans of a batch.
const SPAN: usize = 64 << 10;
const BATCH: u64 = 16;
/// Batches: together more than twice as many bytes as the log may have.
const BATCHES: u64 = 256;
/// The largest size of the log, and room for what is written while it is copied.
const LARGEST: u64 = (64 + 32) << 20;

#[test]
fn the_log_stays_below_its_limit_while_writes_never_pause() {
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
        assert!(written > 2 * LARGEST, "{written} bytes in the file: too few to fill the log twice");
        assert!(largest < LARGEST, "the log had {largest} bytes");
        driver.shutdown().await.unwrap();
    });
}
