//! A database that the reference wrote is imported completely, and once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use sink_sqlite::{Config, ImportError, ImportEvent, ImportReport, import};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _, SqliteConnection};
use telemetry_testkit::block_on;
use tempfile::TempDir;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/reference_trace_store.db")
}

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(false)
        .disable_statement_logging()
        .connect()
        .await
        .unwrap()
}

/// Returns rows as text, with the last column as JSON if it is an object.
async fn rows(path: &Path, sql: &'static str) -> Vec<(Vec<String>, Json)> {
    let mut db = connect(path).await;
    let read = |row: &SqliteRow| {
        let text = |column| row.get_unchecked::<Option<String>, _>(column).unwrap_or_default();
        let last = row.len() - 1;
        ((0..last).map(text).collect(), serde_json::from_str(&text(last)).unwrap_or_default())
    };
    sqlx::query(sql).fetch_all(&mut db).await.unwrap().iter().map(read).collect()
}

/// Imports a database. Returns the report and the skipped rows.
async fn import_into(source: &Path, folder: &TempDir) -> (ImportReport, Vec<(&'static str, i64, String)>) {
    let (mut skipped, mut total, mut done) = (Vec::new(), 0, 0);
    let mut watch = |event| match event {
        ImportEvent::Total(rows) => total = rows,
        ImportEvent::Done(rows) => done += rows,
        ImportEvent::Skipped { table, row, reason } => skipped.push((table, row, reason)),
        _ => {}
    };
    let config = Config::at(folder.path().join("trace_store.db"));
    let report = import(config, source, &mut watch).await.unwrap();
    assert_eq!(done, total, "all rows are reported as done");
    (report, skipped)
}

const TABLES: [&str; 3] = [
    // If no span carries its marker, the reference stores no root and lists the trace nowhere. Ours has a root.
    "SELECT trace_id, service_name, coalesce(root_span_id, (SELECT s.span_id FROM spans s \
     WHERE s.trace_id = traces.trace_id ORDER BY s.start_time LIMIT 1)), start_time, end_time, '' \
     FROM traces ORDER BY trace_id",
    "SELECT span_id, trace_id, parent_span_id, name, start_time, end_time, status, kind, attributes \
     FROM spans ORDER BY span_id",
    "SELECT span_id, name, timestamp, attributes FROM span_events ORDER BY span_id, id",
];

async fn same_tables(ours: &Path) {
    for table in TABLES {
        let (found, expected) = (rows(ours, table).await, rows(&fixture(), table).await);
        assert_eq!(found.len(), expected.len(), "{table}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{table}");
        }
    }
}

#[test]
fn the_tables_of_the_reference_are_imported_completely_and_once() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let (report, skipped) = import_into(&fixture(), &folder).await;
        let expected = ImportReport { spans: 464, logs: 850, metrics: 6, already_there: 0, skipped: 0 };
        assert_eq!((report, skipped), (expected, vec![]));
        let ours = folder.path().join("trace_store.db");
        same_tables(&ours).await;
        let (again, _) = import_into(&fixture(), &folder).await;
        assert_eq!(again, ImportReport { already_there: 1_320, ..ImportReport::default() });
        same_tables(&ours).await;
    });
}

/// Returns a copy of the fixture, changed by `sql`.
async fn changed(folder: &TempDir, sql: &'static str) -> PathBuf {
    let path = folder.path().join("reference.db");
    std::fs::copy(fixture(), &path).unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connect(&path).await).await.unwrap();
    path
}

#[test]
fn bad_rows_are_reported_and_the_events_of_bad_spans_are_kept() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let source = changed(
            &folder,
            "UPDATE spans SET start_time = 'yesterday' WHERE rowid = 1; \
             UPDATE spans SET attributes = x'80ff' WHERE rowid = 2; \
             UPDATE span_events SET timestamp = NULL WHERE id = 5; \
             INSERT INTO traces (trace_id) VALUES ('00000000000000000000000000000abc'); \
             INSERT INTO span_events (span_id, name, timestamp, attributes) \
               VALUES (NULL, 'alone', '2026-03-01T12:00:00+00:00', '{\"k\": 1}'), \
                      ('gone', 'metric.m', '2026-03-01T12:00:00+00:00', '{\"value\": 1, \"unit\": \"u\"}'), \
                      ('gone', 'metric.m', '2026-03-01T12:00:00+00:00', '{\"value\": 1, \"unit\": \"u\"}');",
        )
        .await;
        for round in ["first", "second"] {
            let (report, skipped) = import_into(&source, &folder).await;
            let mut reported: Vec<_> = skipped.iter().map(|(table, row, _)| (*table, *row)).collect();
            reported.sort_unstable();
            assert!(skipped.iter().any(|(_, _, reason)| reason.contains("yesterday")), "{skipped:?}");
            if round == "first" {
                assert_eq!(reported, [("span_events", 5), ("spans", 1), ("spans", 2), ("traces", 462)]);
                assert_eq!((report.spans, report.logs, report.metrics), (462, 850, 8), "{report:?}");
            } else {
                // The events of a span that is stored are not checked again.
                assert_eq!(reported, [("spans", 1), ("spans", 2), ("traces", 462)], "{skipped:?}");
                assert_eq!((report.spans, report.logs, report.metrics), (0, 0, 0), "{report:?}");
            }
        }
        let ours = folder.path().join("trace_store.db");
        let alone = "SELECT span_id, name, attributes FROM span_events WHERE name IN ('alone', 'metric.m') ORDER BY id";
        let found = rows(&ours, alone).await;
        assert_eq!(found.len(), 3, "two equal events are both stored: {found:?}");
        let event = "SELECT count(*), '' FROM span_events WHERE span_id = 'd7af9c977cbb5e8a'";
        assert_eq!(rows(&ours, event).await[0].0, ["1"], "the log of a span that could not be read");
    });
}

#[test]
fn a_file_that_the_reference_did_not_write_is_rejected() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        import_into(&fixture(), &folder).await;
        let ours = folder.path().join("trace_store.db");
        let other = Config::at(folder.path().join("other.db"));
        let rejected = import(other.clone(), &ours, &mut |_| ()).await.unwrap_err();
        assert!(matches!(rejected, ImportError::NotReference { .. }), "{rejected}");
        let missing = import(other, &folder.path().join("missing.db"), &mut |_| ()).await.unwrap_err();
        assert!(matches!(missing, ImportError::Unreadable { .. }), "{missing}");
        assert!(!folder.path().join("other.db").exists(), "no database is created");
    });
}
