//! Files of every earlier version can be opened, queried and written.
//!
//! The files in `data` have the schema of those versions: a trace of two spans with a log and a
//! metric point, a span that had not ended, and an end whose start had not arrived. They expire in 2162.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sink_sqlite::{Config, OpenError, examine};
use telemetry_core::query::{MetricQuery, QueryType, SpanQuery, TraceQuery};
use telemetry_core::{
    RunId, Signal, Span, SpanEvent, SpanKey, SpanState, SpanStatus, Timestamp, TraceStore, attrs,
};
use telemetry_testkit::collect;
use telemetry_testkit::{Driver, block_on, signals};

fn stored(version: i64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/v{version}.db"))
}

fn key(trace: u128, span: u64) -> SpanKey {
    SpanKey::new(signals::trace_id(trace), signals::span_id(span))
}

async fn state_of(store: &dyn TraceStore, key: SpanKey) -> Option<(SpanState, Option<SpanStatus>)> {
    store.get_span(key).await.unwrap().map(|span| (span.state, span.status))
}

async fn answers(store: &dyn TraceStore) {
    let traces = collect(store.query_traces(TraceQuery::default())).await.unwrap();
    let ids: Vec<u128> = traces.iter().map(|trace| trace.trace_id.as_u128()).collect();
    assert_eq!(ids, [0xa2, 0xa1], "newest first");
    let chat = store.get_span(key(0xa1, 0xb2)).await.unwrap().unwrap();
    assert_eq!(chat.parent_span_id, Some(signals::span_id(0xb1)));
    assert_eq!((chat.name.as_ref(), chat.status), ("inference", Some(SpanStatus::Error)));
    assert_eq!(chat.attributes, attrs! { "model_id" => "llama" });
    let [SpanEvent::Log(log), SpanEvent::Metric(point)] = chat.events.as_slice() else { panic!("{chat:?}") };
    assert_eq!(log.attributes, attrs! { "k" => "v" });
    assert_eq!(point.name, "prompt_tokens");
    let window = MetricQuery {
        metric: "llama_stack_prompt_tokens_total".into(),
        start: Timestamp::from_nanos(0),
        end: Timestamp::now(),
        granularity: None,
        query_type: QueryType::Range,
        matchers: Vec::new(),
        aggregation: None,
    };
    assert_eq!(store.query_metrics(window).await.unwrap().len(), 1);
    assert_eq!(collect(store.query_spans(SpanQuery::default())).await.unwrap().len(), 3);
}

#[test]
fn a_file_of_every_earlier_version_opens_and_can_be_written() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::at(folder.path().join("trace_store.db"));
        let driver = Driver::new(sink_sqlite::open(config.clone(), "chat").await.unwrap());
        let (_, latest) = examine(&config, true).await.unwrap().schema;
        driver.shutdown().await.unwrap();
        for version in 1..latest {
            std::fs::copy(stored(version), &config.path)
                .unwrap_or_else(|error| panic!("a file of version {version} is kept in tests/data: {error}"));
            assert_eq!(
                examine(&config, false).await.unwrap().schema,
                (version, latest),
                "examining changes nothing"
            );
            let mut driver =
                Driver::new(sink_sqlite::open(config.clone(), "chat").await.unwrap()).in_run(RunId(7));
            let store = driver.store().unwrap();
            answers(&*store).await;
            // The incomplete spans are completed.
            assert_eq!(state_of(&*store, key(0xa2, 0xc1)).await, Some((SpanState::Unfinished, None)));
            let started = Span { ttl: signals::long(), ..signals::open_span(0xa3, 0xd1, 2_500) };
            let rest = vec![
                signals::end_waiting(0xa2, 0xc1, 9_000, attrs! {}),
                Signal::SpanStarted(Arc::new(started)),
            ];
            driver.write(rest).await.unwrap();
            for key in [key(0xa2, 0xc1), key(0xa3, 0xd1)] {
                assert_eq!(
                    state_of(&*store, key).await,
                    Some((SpanState::Ended, Some(SpanStatus::Ok))),
                    "{key:?}"
                );
            }
            let found = examine(&config, false).await.unwrap();
            assert_eq!((found.schema, found.problems), ((latest, latest), vec![]));
            driver.shutdown().await.unwrap();
        }
        assert!(latest > 1, "there is an earlier version");
    });
}

#[test]
fn a_newer_file_is_rejected_and_not_changed() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::at(folder.path().join("trace_store.db"));
        std::fs::copy(stored(1), &config.path).unwrap();
        let stamp = std::process::Command::new("sqlite3")
            .arg(&config.path)
            .arg("PRAGMA user_version = 1000")
            .status();
        assert!(stamp.expect("sqlite3 is installed").success());
        let before = std::fs::read(&config.path).unwrap();
        let rejected = sink_sqlite::open(config.clone(), "chat").await.unwrap_err().full_text();
        assert!(
            rejected.contains("schema version 1000") && rejected.contains("upgrade the program"),
            "{rejected}"
        );
        assert!(matches!(examine(&config, true).await, Err(OpenError::Newer { found: 1_000, .. })));
        let after = std::fs::read(&config.path).unwrap();
        let changed: Vec<usize> = (0..before.len()).filter(|&at| before.get(at) != after.get(at)).collect();
        assert!(after.len() == before.len() && changed.is_empty(), "bytes changed: {changed:?}");
    });
}

#[test]
fn a_file_of_another_program_is_rejected_and_not_changed() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::at(folder.path().join("other.db"));
        let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/reference_trace_store.db");
        std::fs::copy(&reference, &config.path).unwrap();
        let rejected = sink_sqlite::open(config.clone(), "chat").await.unwrap_err().full_text();
        assert!(rejected.contains("telemetry import"), "{rejected}");
        assert_eq!(std::fs::read(&config.path).unwrap(), std::fs::read(&reference).unwrap());
    });
}
