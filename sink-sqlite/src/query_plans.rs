//! A test: no statement reads a whole table that grows, except those named here with their reason.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use sqlx::{Connection as _, Row as _};
use telemetry_core::Timestamp;
use telemetry_testkit::block_on;
use telemetry_testkit::store_kit::{StoreAndModel, random_question, random_signals};
use tracing::field::{Field, Visit};

use crate::connect::{self, Role};
use crate::{Config, examine, purge};

/// Tables that grow with what is stored.
const GROWING: [&str; 10] = [
    "trace",
    "span_row",
    "span_open",
    "end_waiting",
    "log_row",
    "metric_series",
    "metric_point",
    "posting",
    "number",
    "stream_mark",
];

/// Parts of statements that read a whole table on purpose, and why.
const MAY_SCAN: &[(&str, &str)] = &[
    ("SELECT trace, span_id FROM span_open LIMIT", "reads the keys once at start"),
    ("SELECT trace_id, span_id FROM end_waiting LIMIT", "reads the keys once at start"),
    ("UPDATE span_open SET state", "marks spans of an earlier run once at start"),
    ("FROM span_open s JOIN trace t ON t.id = s.trace WHERE s.end_time IS NULL", "recovers once at start"),
    ("FROM end_waiting w ORDER BY w.arrived", "recovers once at start"),
    ("NOT INDEXED WHERE", "the oldest traces come first and expired ones are deleted: reads few rows"),
    ("SELECT count(*)", "`telemetry doctor` counts rows"),
    (
        "FROM span_open s JOIN trace t ON t.id = s.trace WHERE t.expires >",
        "filters read every incomplete span",
    ),
];

/// Collects the statements that sqlx logs.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<BTreeSet<String>>>);

struct Sql(String);

impl Visit for Sql {
    fn record_str(&mut self, field: &Field, value: &str) {
        // A short statement is only in the summary.
        if field.name() == "db.statement" && !value.trim().is_empty()
            || field.name() == "summary" && self.0.is_empty()
        {
            value.trim().clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl tracing::Subscriber for Statements {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut sql = Sql(String::new());
        event.record(&mut sql);
        self.0.lock().unwrap().insert(sql.0);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Returns true if a line of a statement's plan reads a whole table that grows.
fn scans_a_growing_table(sql: &str, line: &str) -> bool {
    let Some(scanned) = line.strip_prefix("SCAN ") else { return false };
    let name = scanned.split(' ').next().unwrap_or(scanned);
    let is_alias_of =
        |table: &&str| sql.contains(&format!("{table} {name} ")) || sql.ends_with(&format!("{table} {name}"));
    !scanned.contains(" USING ") && GROWING.iter().any(|table| *table == name || is_alias_of(table))
}

#[test]
fn no_statement_scans_a_table_that_grows() {
    let statements = Statements::default();
    tracing::subscriber::set_global_default(statements.clone()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        purge_interval: Duration::from_millis(20),
        max_size: Some(1),
        ..Config::at(folder.path().join("store.db"))
    };
    block_on(async {
        let mut runner = TestRunner::deterministic();
        for _ in 0..6 {
            let file = folder.path().join("random.db");
            let _ = std::fs::remove_file(&file);
            let mut pair = StoreAndModel::new(
                crate::open(Config::at(file), telemetry_testkit::SERVICE_NAME).await.unwrap(),
            );
            for _ in 0..3 {
                pair.write(random_signals().new_tree(&mut runner).unwrap().current()).await;
            }
            for _ in 0..40 {
                let question = random_question().new_tree(&mut runner).unwrap().current();
                pair.assert_same_answers(&question).await;
            }
            pair.shutdown().await;
        }
        let mut pair =
            StoreAndModel::new(crate::open(config.clone(), telemetry_testkit::SERVICE_NAME).await.unwrap());
        pair.write(random_signals().new_tree(&mut runner).unwrap().current()).await;
        pair.shutdown().await;
        examine(&config, false).await.unwrap();
        let mut db = connect::open(&config, Role::Writer).await.unwrap();
        while purge::step(&mut db, Timestamp::now(), 64, config.max_size).await.unwrap().more {}

        let statements = statements.0.lock().unwrap().clone();
        let mut explained = 0;
        let mut scans = Vec::new();
        for sql in &statements {
            let is_query = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "REPLACE"];
            if !is_query.iter().any(|word| sql.starts_with(word)) {
                continue;
            }
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let plan = sqlx::raw_sql(explain).fetch_all(&mut db).await.unwrap();
            explained += 1;
            let lines: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            let may_scan = MAY_SCAN.iter().any(|(part, _)| sql.contains(part));
            if !may_scan && lines.iter().any(|line| scans_a_growing_table(sql, line)) {
                scans.push(format!("{sql}\n    {}", lines.join("\n    ")));
            }
        }
        db.close().await.unwrap();
        assert!(explained > 40, "only {explained} statements were seen");
        assert!(scans.is_empty(), "{} of {explained} statements:\n{}", scans.len(), scans.join("\n"));
    });
}
