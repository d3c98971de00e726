//! The attribute index over full blocks, the block being filled, and a restart in between.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use support::Database;
use telemetry_core::query::{Filter, FilterOp, TraceQuery, TreeQuery};
use telemetry_core::{RunId, Signal, Span, SpanStatus, TraceStore, Value, attrs};
use telemetry_testkit::store_kit::collect;
use telemetry_testkit::{Driver, Harness as _, block_on, signals};

/// Two full blocks and a bit.
const SPANS: u64 = 40_000;
/// Spans of a trace.
const TRACE: u64 = 4;

fn span(number: u64) -> Span {
    let time = i64::try_from(number).unwrap();
    let attributes = attrs! {
        "session" => format!("session-{}", number / 8),
        "model" => "llama",
        "tokens" => number,
        "share" => f64::from(i32::try_from(time).unwrap()) / 8.0,
        "a\"b.[0]" => number.is_multiple_of(3),
        "name" => if number.is_multiple_of(1_000) { Value::from("own") } else { Value::Null },
    };
    Span { attributes, ..signals::span(u128::from(number / TRACE + 1), number + 1, time, time + 5) }
}

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

#[test]
fn sealed_blocks_and_the_one_being_filled_are_one_store() {
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
        assert_eq!(ask(&[("tokens", Eq, 7.0.into())]).await, 1, "7 is 7.0");
        assert_eq!(ask(&[("tokens", Eq, "7".into())]).await, 0, "but not text");
        assert_eq!(ask(&[("tokens", Lt, 8.into())]).await, 2);
        assert_eq!(ask(&[("tokens", Gt, (SPANS - 5).into())]).await, 1);
        assert_eq!(ask(&[("share", Gt, 4_999.0.into()), ("share", Lt, 4_999.5.into())]).await, 1);
        assert_eq!(
            ask(&[("session", Eq, "session-3".into()), ("tokens", Gt, 29.into())]).await,
            1,
            "on one span"
        );
        assert_eq!(ask(&[("a\"b.[0]", Eq, true.into()), ("session", Eq, "session-0".into())]).await, 2);
        assert_eq!(ask(&[("model", Eq, "llama".into())]).await as u64, SPANS / TRACE, "dense");
        assert_eq!(
            ask(&[("name", Eq, "own".into())]).await,
            40,
            "an own attribute comes before the built-in key"
        );
        assert_eq!(ask(&[("name", Eq, "span".into())]).await, 0, "which it hides");
        assert_eq!(ask(&[("status", Eq, SpanStatus::Ok.as_str().into()), ("tokens", Lt, 4.into())]).await, 1);
        assert_eq!(ask(&[("span_id", Eq, "0000000000000064".into())]).await, 1);
        assert_eq!(ask(&[("duration_ms", Gt, 4.into()), ("tokens", Eq, 9.into())]).await, 1);
        assert_eq!(ask(&[("tokens", Ne, 1.into()), ("tokens", Lt, 2.into())]).await, 1);
        for number in [5, 20_000, SPANS] {
            let query = TreeQuery { span_id: signals::span_id(number), trace_id: None, max_depth: None };
            assert!(store.span_tree(query).await.unwrap().is_some(), "span {number}");
        }
    });
}
