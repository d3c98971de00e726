//! Expired data is hidden and deleted, and a file that is too large loses the oldest data.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sink_sqlite::{Config, Examination, examine};
use support::Database;
use telemetry_core::query::TraceQuery;
use telemetry_core::{EventContext, Signal, Span, Timestamp, TraceStore, Ttl, attrs};
use telemetry_testkit::collect;
use telemetry_testkit::{Driver, Harness as _, block_on, signals};

/// Purges leave most of the time to writes, so a busy machine takes long.
const DEADLINE: Duration = Duration::from_secs(300);

/// Returns a trace of one span, about a kilobyte large, that arrives now, and its log.
fn trace(number: u64, ttl: Ttl) -> [Signal; 2] {
    let ids = (u128::from(number), number);
    let attributes = attrs! { "text" => "x".repeat(500), "number" => number };
    let arrived = Timestamp::now();
    let span = Span { attributes, arrived, ttl, ..signals::span(ids.0, ids.1, 0, 1) };
    let mut log = signals::log_record(EventContext::Span(span.key()), 0, "y".repeat(300));
    (log.arrived, log.ttl) = (arrived, ttl);
    [Signal::Log(Arc::new(log)), Signal::SpanEnded(Arc::new(span))]
}

async fn store(driver: &mut Driver, numbers: std::ops::Range<u64>, ttl: Ttl) {
    let numbers: Vec<u64> = numbers.collect();
    for some in numbers.chunks(1_000) {
        driver.write(some.iter().flat_map(|number| trace(*number, ttl)).collect()).await.unwrap();
    }
}

async fn traces(store: &dyn TraceStore) -> Vec<u128> {
    let query = TraceQuery { limit: None, ..TraceQuery::default() };
    let mut ids: Vec<u128> = collect(store.query_traces(query))
        .await
        .unwrap()
        .iter()
        .map(|trace| trace.trace_id.as_u128())
        .collect();
    ids.sort_unstable();
    ids
}

/// Examines the file until `is_so` returns true.
async fn eventually(config: &Config, what: &str, is_so: impl Fn(&Examination) -> bool) {
    let started = Instant::now();
    loop {
        let found = examine(config, true).await.unwrap();
        if is_so(&found) {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}: {found:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[test]
fn expired_data_is_hidden_then_deleted_and_its_space_returned() {
    block_on(async {
        let database = Database::new();
        let config = Config { purge_interval: Duration::from_millis(100), ..Config::at(database.path()) };
        let mut driver = Driver::new(sink_sqlite::open(config.clone(), "test").await.unwrap());
        let reader = driver.store().unwrap();
        // More than a block, so that its postings are deleted too.
        store(&mut driver, 1..17_001, Ttl::from_seconds(1).unwrap()).await;
        store(&mut driver, 20_001..20_101, signals::long()).await;
        let full = examine(&config, true).await.unwrap().sizes;
        assert!(full.database + full.log > 15 << 20, "{full:?}");
        let left: Vec<u128> = (20_001..20_101).collect();
        let started = Instant::now();
        while traces(&*reader).await != left {
            assert!(started.elapsed() < DEADLINE, "expired traces are not hidden within {DEADLINE:?}");
        }
        eventually(&config, "the file shrinks", |found| {
            found.expired.spans + found.expired.logs == 0
                && found.sizes.free == 0
                && found.sizes.database < 1 << 20
        })
        .await;
        assert_eq!(traces(&*reader).await, left, "the others stay");
        assert_eq!(examine(&config, false).await.unwrap().problems, Vec::<String>::new());
        driver.shutdown().await.unwrap();
    });
}

#[test]
fn a_file_that_is_too_large_loses_its_oldest_traces() {
    const CAP: u64 = 4 << 20;
    block_on(async {
        let database = Database::new();
        let interval = Duration::from_millis(50);
        let config = Config { purge_interval: interval, max_size: Some(CAP), ..Config::at(database.path()) };
        let mut driver = Driver::new(sink_sqlite::open(config.clone(), "test").await.unwrap());
        let reader = driver.store().unwrap();
        store(&mut driver, 1..10_001, signals::long()).await;
        eventually(&config, "the file is small enough", |found| {
            found.sizes.free == 0 && found.sizes.log == 0 && found.sizes.database <= CAP
        })
        .await;
        let left = traces(&*reader).await;
        let first = left[0];
        assert!(left.len() > 1_000, "not more than needed is deleted: {}", left.len());
        assert_eq!(left, (first..10_001).collect::<Vec<u128>>(), "the newest stay, without a gap");
        driver.shutdown().await.unwrap();
    });
}

/// Returns metric points of one series each, about as large as a trace together, that arrived at `arrived`.
fn points(numbers: std::ops::Range<u64>, arrived: Timestamp) -> Vec<Signal> {
    numbers
        .map(|number| {
            let labels = attrs! { "text" => "z".repeat(200), "number" => number };
            let mut point = signals::metric_point("m", 1, 0, labels);
            (point.arrived, point.ttl) = (arrived, signals::long());
            Signal::Metric(Arc::new(point))
        })
        .collect()
}

#[test]
fn a_file_that_is_too_large_loses_older_metric_points_before_newer_traces() {
    const CAP: u64 = 3 << 19;
    block_on(async {
        let database = Database::new();
        let interval = Duration::from_millis(20);
        let config = Config { purge_interval: interval, max_size: Some(CAP), ..Config::at(database.path()) };
        let mut driver = Driver::new(sink_sqlite::open(config.clone(), "test").await.unwrap());
        let reader = driver.store().unwrap();
        let earlier = Timestamp::from_nanos(Timestamp::now().as_nanos() - 60_000_000_000);
        driver.write(points(0..3_000, earlier)).await.unwrap();
        store(&mut driver, 1..501, signals::long()).await;
        driver.write(points(3_000..3_010, Timestamp::now())).await.unwrap();
        eventually(&config, "the file is small enough", |found| found.sizes.database <= CAP).await;
        assert_eq!(traces(&*reader).await, (1..501).collect::<Vec<u128>>(), "the newer traces stay");
        let left = examine(&config, true).await.unwrap().stored.metrics;
        assert!((10..3_010).contains(&left), "only the oldest points go: {left}");
        driver.shutdown().await.unwrap();
    });
}

#[test]
fn a_file_stays_near_its_largest_size_however_fast_writes_come() {
    const CAP: u64 = 4 << 20;
    block_on(async {
        let database = Database::new();
        // Only the writes themselves keep the size.
        let interval = Duration::from_secs(3_600);
        let config = Config { purge_interval: interval, max_size: Some(CAP), ..Config::at(database.path()) };
        let mut driver = Driver::new(sink_sqlite::open(config.clone(), "test").await.unwrap());
        let reader = driver.store().unwrap();
        let mut largest = 0;
        for part in 0..40 {
            store(&mut driver, part * 500 + 1..part * 500 + 501, signals::long()).await;
            largest = largest.max(examine(&config, true).await.unwrap().sizes.database);
        }
        assert!(largest <= CAP + CAP / 10, "the file grew to {largest} bytes");
        let left = traces(&*reader).await;
        assert_eq!(left.last(), Some(&20_000), "the newest stay");
        assert!(left.len() > 1_000, "not more than needed is deleted: {}", left.len());
        driver.shutdown().await.unwrap();
    });
}

#[test]
fn a_file_with_metric_points_and_logs_of_no_trace_alone_is_not_damaged() {
    block_on(async {
        let database = Database::new();
        let config = Config::at(database.path());
        let mut driver = Driver::new(sink_sqlite::open(config.clone(), "test").await.unwrap());
        let log = Signal::Log(Arc::new(signals::log_record(EventContext::None, 0, "alone")));
        driver.write([points(0..1, Timestamp::now()), vec![log]].concat()).await.unwrap();
        assert_eq!(examine(&config, false).await.unwrap().problems, Vec::<String>::new());
        driver.shutdown().await.unwrap();
    });
}

#[test]
fn a_series_without_points_is_deleted_and_can_come_again() {
    block_on(async {
        let database = Database::new();
        let config = Config { purge_interval: Duration::from_millis(20), ..Config::at(database.path()) };
        let mut driver = Driver::new(sink_sqlite::open(config.clone(), "test").await.unwrap());
        let expired = |signal: Signal| match signal {
            Signal::Metric(point) => {
                let mut point = Arc::unwrap_or_clone(point);
                point.ttl = Ttl::from_seconds(1).unwrap();
                Signal::Metric(Arc::new(point))
            }
            other => other,
        };
        let count = || {
            let count = std::process::Command::new("sqlite3")
                .arg(database.path())
                .arg("SELECT count(*) FROM metric_series")
                .output()
                .expect("sqlite3 is installed");
            String::from_utf8(count.stdout).unwrap().trim().parse::<u64>().unwrap()
        };
        let short = points(0..600, Timestamp::now()).into_iter().map(expired).collect();
        driver.write(short).await.unwrap();
        driver.write(points(600..610, Timestamp::now())).await.unwrap();
        assert_eq!(count(), 610);
        let started = Instant::now();
        while count() > 10 {
            assert!(started.elapsed() < DEADLINE, "{} series are left", count());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        driver.write(points(0..5, Timestamp::now())).await.unwrap();
        assert_eq!(count(), 15, "a series that comes again is stored again");
        driver.shutdown().await.unwrap();
    });
}
