//! The attribute index: full blocks, the block that is being filled, and a restart in between.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use support::Database;
use telemetry_core::query::{Filter, FilterOp, TraceQuery, TreeQuery};
use telemetry_core::{RunId, Signal, Span, SpanStatus, TraceStore, Value, attrs};
use telemetry_testkit::collect;
use telemetry_testkit::{Driver, Harness as _, block_on, signals};

/// Four full blocks and a part of the next.
const SPANS: u64 = 40_000;
/// Spans per trace.
const TRACE: u64 = 4;

/// Returns the start of a span. Spans do not arrive in the order of their starts.
fn start(number: u64) -> i64 {
    i64::try_from(number ^ 0x2d5).unwrap()
}

fn span(number: u64) -> Span {
    let time = start(number);
    let attributes = attrs! {
        "session" => format!("session-{}", number / 8),
        "model" => "llama",
        "tokens" => number,
        "share" => f64::from(u32::try_from(number).unwrap()) / 8.0,
        "a\"b.[0]" => number.is_multiple_of(3),
        "name" => if number.is_multiple_of(1_000) { Value::from("own") } else { Value::Null },
    };
    let service_name = number.is_multiple_of(5_000).then(|| "other".into());
    let end = time + if number.is_multiple_of(10_000) { 9 } else { 5 };
    Span { attributes, service_name, ..signals::span(u128::from(number / TRACE + 1), number + 1, time, end) }
}

/// Returns the number of traces that match.
async fn found(store: &dyn TraceStore, filters: &[(&str, FilterOp, Value)]) -> usize {
    let filter = |(key, op, value): &(&str, FilterOp, Value)| Filter {
        key: (*key).into(),
        op: *op,
        value: value.clone(),
    };
    let query =
        TraceQuery { filters: filters.iter().map(filter).collect(), limit: None, ..TraceQuery::default() };
    collect(store.query_traces(query)).await.unwrap().len()
}

/// Returns the ids of the newest `limit` traces after the first `offset`.
async fn newest(store: &dyn TraceStore, key: &str, value: Value, limit: u64, offset: u64) -> Vec<u128> {
    let filters = vec![Filter { key: key.into(), op: FilterOp::Eq, value }];
    let query = TraceQuery { filters, limit: Some(limit), offset, ..TraceQuery::default() };
    let traces = collect(store.query_traces(query)).await.unwrap();
    traces.iter().map(|trace| trace.trace_id.as_u128()).collect()
}

/// Returns what [`newest`] must return, if the spans for which `matches` returns true match.
fn expected(matches: impl Fn(u64) -> bool, limit: usize, offset: usize) -> Vec<u128> {
    let mut traces: Vec<(i64, u128)> = (0..SPANS / TRACE)
        .filter(|trace| (trace * TRACE..(trace + 1) * TRACE).any(&matches))
        .map(|trace| ((trace * TRACE..(trace + 1) * TRACE).map(start).min().unwrap(), u128::from(trace + 1)))
        .collect();
    traces.sort_unstable_by(|left, right| right.cmp(left));
    traces.into_iter().skip(offset).take(limit).map(|(_, id)| id).collect()
}

#[test]
fn queries_find_spans_of_sealed_blocks_and_of_the_block_being_filled() {
    use FilterOp::{Eq, Gt, Lt, Ne};
    block_on(async {
        let database = Database::new();
        for (run, from, to) in [(1, 0, SPANS / 3), (2, SPANS / 3, SPANS)] {
            let mut driver = Driver::new(database.build().await.unwrap()).in_run(RunId(run));
            let spans: Vec<u64> = (from..to).collect();
            for batch in spans.chunks(1_000) {
                driver
                    .write(batch.iter().map(|number| Signal::SpanEnded(Arc::new(span(*number)))).collect())
                    .await
                    .unwrap();
            }
            driver.shutdown().await.unwrap();
        }
        let store = database.build().await.unwrap().store.unwrap();
        let ask = async |filters: &[(&str, FilterOp, Value)]| found(&*store, filters).await;
        assert_eq!(ask(&[("session", Eq, "session-100".into())]).await, 2, "8 spans, 2 traces");
        assert_eq!(ask(&[("session", Eq, "session-4999".into())]).await, 2, "in the block being filled");
        assert_eq!(ask(&[("session", Eq, "nowhere".into())]).await, 0);
        assert_eq!(ask(&[("tokens", Eq, 7.0.into())]).await, 1, "7 equals 7.0");
        assert_eq!(ask(&[("tokens", Eq, "7".into())]).await, 0, "a number does not equal text");
        assert_eq!(ask(&[("tokens", Lt, 8.into())]).await, 2);
        assert_eq!(ask(&[("tokens", Gt, (SPANS - 5).into())]).await, 1);
        assert_eq!(ask(&[("share", Gt, 4_999.0.into()), ("share", Lt, 4_999.5.into())]).await, 1);
        assert_eq!(
            ask(&[("session", Eq, "session-3".into()), ("tokens", Gt, 29.into())]).await,
            1,
            "on one span"
        );
        assert_eq!(ask(&[("a\"b.[0]", Eq, true.into()), ("session", Eq, "session-0".into())]).await, 2);
        assert_eq!(ask(&[("model", Eq, "llama".into())]).await as u64, SPANS / TRACE, "stored as bitmaps");
        assert_eq!(
            ask(&[("name", Eq, "own".into())]).await,
            40,
            "an attribute comes before the built-in key of the same name"
        );
        assert_eq!(ask(&[("name", Eq, "span".into())]).await, 0, "the attribute hides the built-in key");
        assert_eq!(ask(&[("status", Eq, SpanStatus::Ok.as_str().into()), ("tokens", Lt, 4.into())]).await, 1);
        assert_eq!(ask(&[("span_id", Eq, "0000000000000064".into())]).await, 1);
        assert_eq!(ask(&[("duration_ms", Gt, 4.into()), ("tokens", Eq, 9.into())]).await, 1);
        assert_eq!(ask(&[("duration_ms", Gt, 8.5.into())]).await, 4, "the long ones");
        assert_eq!(ask(&[("duration_ms", Eq, 9.into())]).await, 4);
        assert_eq!(ask(&[("service_name", Eq, "other".into())]).await, 8);
        for (limit, offset) in [(1, 0), (100, 0), (7, 2_000), (3, 9_998)] {
            let (take, skip) = (usize::try_from(limit).unwrap(), usize::try_from(offset).unwrap());
            assert_eq!(
                newest(&*store, "model", "llama".into(), limit, offset).await,
                expected(|_| true, take, skip),
                "the newest {limit} after {offset}"
            );
            assert_eq!(
                newest(&*store, "a\"b.[0]", true.into(), limit, offset).await,
                expected(|number| number.is_multiple_of(3), take, skip)
            );
        }
        assert_eq!(ask(&[("tokens", Ne, 1.into()), ("tokens", Lt, 2.into())]).await, 1);
        for number in [5, 20_000, SPANS] {
            let query = TreeQuery { span_id: signals::span_id(number), trace_id: None, max_depth: None };
            assert!(store.span_tree(query).await.unwrap().is_some(), "span {number}");
        }
    });
}
