//! A query that nobody waits for ends at once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use sink_sqlite::Config;
use support::Database;
use telemetry_core::query::{Order, OrderColumn, TraceQuery};
use telemetry_core::{QueryError, Signal, Span};
use telemetry_testkit::{Driver, Harness as _, block_on, signals};

const TRACES: u64 = 30_000;

/// Returns a trace without a known root. An order by the root must read all such traces before the first answer.
fn rootless(number: u64) -> Signal {
    let parent = Some(signals::span_id(number + 1_000_000));
    let span = Span { parent_span_id: parent, ..signals::span(u128::from(number), number, 0, 1) };
    Signal::SpanEnded(Arc::new(span))
}

/// Returns a query that takes long.
fn long_query() -> TraceQuery {
    let columns = [OrderColumn::ServiceName, OrderColumn::RootSpanId];
    let order = columns.map(|column| Order { column, descending: true }).to_vec();
    TraceQuery { order, limit: None, ..TraceQuery::default() }
}

#[test]
fn a_query_that_is_dropped_or_late_frees_its_connection_at_once() {
    block_on(async {
        let database = Database::new();
        // One connection: the next query needs the connection of the one before.
        let mut config = Config { readers: 1, ..Config::at(database.path()) };
        let mut driver = Driver::new(sink_sqlite::open(config.clone(), "test").await.unwrap());
        let numbers: Vec<u64> = (1..=TRACES).collect();
        for some in numbers.chunks(3_000) {
            driver.write(some.iter().map(|number| rootless(*number)).collect()).await.unwrap();
        }
        let store = driver.store().unwrap();
        let started = Instant::now();
        let first = store.query_traces(long_query()).next().await.unwrap().unwrap();
        let took = started.elapsed();
        assert!(!first.is_empty());

        let mut pages = store.query_traces(long_query());
        assert!(
            tokio::time::timeout(took / 20, pages.next()).await.is_err(),
            "answered within {took:?} / 20"
        );
        drop(pages);
        let started = Instant::now();
        assert!(store.get_trace(signals::trace_id(7)).await.unwrap().is_some());
        assert!(
            started.elapsed() < took / 4,
            "waited {:?} of {took:?} for a dropped query",
            started.elapsed()
        );

        driver.shutdown().await.unwrap();
        config.query_timeout = took / 8;
        let store = sink_sqlite::open(config, "test").await.unwrap().store.unwrap();
        let started = Instant::now();
        let late = store.query_traces(long_query()).next().await.unwrap();
        assert!(matches!(late, Err(QueryError::Timeout)), "{late:?}");
        assert!(
            started.elapsed() < took / 2 + Duration::from_millis(100),
            "{:?} of {took:?}",
            started.elapsed()
        );
    });
}
