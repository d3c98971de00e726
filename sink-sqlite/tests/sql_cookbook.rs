//! Every query of `docs/sql-cookbook.md` returns, in the `sqlite3` program, the answer that the page shows.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::Command;

use support::Database;
use telemetry_core::{
    Attributes, EventContext, LogBody, MetricPoint, Severity, Signal, Span, SpanState, SpanStatus, attrs,
};
use telemetry_testkit::{Driver, Harness as _, block_on, signals};

/// Returns a span between two times, in milliseconds after noon of 2026-03-01.
fn span(
    ids: (u128, u64, Option<u64>),
    name: &'static str,
    from: i64,
    to: i64,
    attributes: Attributes,
) -> Span {
    let (trace, id, parent) = ids;
    Span {
        name: name.into(),
        parent_span_id: parent.map(signals::span_id),
        attributes,
        ..signals::span(trace, id, from, to)
    }
}

fn log(trace: u128, id: u64, at: i64, severity: Severity, message: &'static str) -> Signal {
    let context = EventContext::Span(signals::key(trace, id));
    let mut record = signals::log_record(context, at, message);
    record.body = LogBody::Message { severity, message: message.into() };
    Signal::Log(record.into())
}

fn tokens(at: i64, model: &'static str, prompt: i64, completion: i64) -> [Signal; 2] {
    [("prompt_tokens", prompt), ("llama_stack_completion_tokens_total", completion)].map(|(name, value)| {
        let labels = attrs! { "model_id" => model, "provider_id" => "vllm" };
        let point = signals::metric_point(name, value, at, labels);
        Signal::Metric(MetricPoint { unit: "tokens".into(), ..point }.into())
    })
}

/// Returns three turns of an agent in two sessions. The last turn still runs.
fn sample() -> Vec<Signal> {
    const HOUR: i64 = 3_600_000;
    let mut failed = span((10, 3, Some(1)), "tool search", 1_500, 1_700, attrs! {});
    failed.status = Some(SpanStatus::Error);
    let mut running = span((12, 7, None), "agent turn", HOUR, HOUR, attrs! { "session_id" => "s2" });
    (running.end_time, running.status, running.state) = (None, None, SpanState::Open);
    let mut all = vec![
        log(10, 1, 1, Severity::Info, "turn started"),
        log(10, 3, 1_690, Severity::Error, "search timed out after 200 ms"),
        log(10, 1, 2_499, Severity::Warn, "answered without search"),
        signals::ended(span((10, 2, Some(1)), "inference", 100, 1_400, attrs! { "model_id" => "llama-8b" })),
        signals::ended(failed),
        signals::ended(span((10, 4, Some(3)), "http GET", 1_510, 1_699, attrs! {})),
        signals::ended(span((10, 1, None), "agent turn", 0, 2_500, attrs! { "session_id" => "s1" })),
        signals::ended(span(
            (11, 6, Some(5)),
            "inference",
            60_100,
            60_700,
            attrs! { "model_id" => "llama-70b" },
        )),
        signals::ended(span((11, 5, None), "agent turn", 60_000, 60_750, attrs! { "session_id" => "s1" })),
        signals::started(running),
    ];
    all.extend(tokens(1_400, "llama-8b", 120, 48));
    all.extend(tokens(60_700, "llama-70b", 900, 210));
    all.extend(tokens(HOUR, "llama-8b", 64, 16));
    all
}

/// Returns the queries of the page, each with the answer below it.
fn queries(page: &str) -> Vec<(&str, &str)> {
    let mut queries = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once("```sql\n") {
        let (sql, after) = after.split_once("```").unwrap();
        let (between, after) = after.split_once("```text\n").expect("an answer below each query");
        assert!(!between.contains("```sql"), "no answer below {sql}");
        let (answer, after) = after.split_once("```").unwrap();
        queries.push((sql, answer));
        rest = after;
    }
    queries
}

fn sqlite3(database: &Path, sql: &str) -> String {
    let output =
        Command::new("sqlite3").args(["-readonly", "-header", "-column"]).arg(database).arg(sql).output();
    let output = output.expect("sqlite3 is installed (Debian: apt-get install sqlite3)");
    assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

#[test]
fn every_query_returns_the_answer_on_the_page() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sql-cookbook.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let queries = queries(&text);
    assert!(queries.len() >= 6, "{} queries", queries.len());
    let database = Database::new();
    block_on(async {
        let mut driver = Driver::new(database.build().await.unwrap());
        driver.write(sample()).await.unwrap();
        for (sql, answer) in queries {
            let found = sqlite3(&database.path(), sql);
            assert_eq!(found, answer, "{sql}\n{found}");
        }
        driver.shutdown().await.unwrap();
    });
}
