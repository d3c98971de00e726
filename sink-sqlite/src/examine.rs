//! Examines a database for `telemetry doctor`: is it sound, and what is in it?

use std::path::PathBuf;

use sqlx::SqliteConnection;
use telemetry_core::Timestamp;

use crate::config::Config;
use crate::connect::{self, Role};
use crate::error::OpenError;
use crate::files::{log_size, writer_of};
use crate::rows::{read_row, selected_columns};
use crate::schema::{self, FileKind};

/// The result of [`examine`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Examination {
    /// The file.
    pub path: PathBuf,
    /// Its schema version, and the latest that this program knows. An older file is migrated at the next start.
    pub schema: (i64, i64),
    /// The program that writes it now: `process 123 (telemetry)`.
    pub writer: Option<String>,
    /// Violations that `PRAGMA integrity_check` and the rules of the tables found. Empty if the file is sound.
    pub problems: Vec<String>,
    /// Bytes on disk.
    pub sizes: Sizes,
    /// True if the rows could be counted. In a file so damaged that they can't, all numbers of rows are 0.
    pub is_counted: bool,
    /// What is stored and has not expired.
    pub stored: Rows,
    /// What has expired and is not deleted yet. The next purge deletes it.
    pub expired: Rows,
    /// When the oldest trace that has not expired arrived.
    pub oldest: Option<Timestamp>,
    /// Spans whose start or end is missing, also because they still run.
    pub incomplete_spans: u64,
    /// Ends that wait for their start.
    pub waiting_ends: u64,
}

/// Bytes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// The database file.
    pub database: u64,
    /// Its write-ahead log.
    pub log: u64,
    /// Free pages in the file. Purges return them to the file system.
    pub free: u64,
    /// The largest size, `max_size`, if one is configured.
    pub cap: Option<u64>,
}

/// Numbers of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rows {
    /// Traces.
    pub traces: u64,
    /// Spans, complete or not.
    pub spans: u64,
    /// Logs and span events.
    pub logs: u64,
    /// Metric points.
    pub metrics: u64,
}

selected_columns! {
    /// Numbers of rows in the file. `?1` is the time now.
    struct Counts {
        live_traces: i64 = "(SELECT count(*) FROM trace WHERE expires > ?1)",
        expired_traces: i64 = "(SELECT count(*) FROM trace WHERE expires <= ?1)",
        spans: i64 = "(SELECT count(*) FROM span_row) + (SELECT count(*) FROM span_open)",
        expired_spans: i64 =
            "(SELECT count(*) FROM span_row WHERE trace IN (SELECT id FROM trace WHERE expires <= ?1)) \
             + (SELECT count(*) FROM span_open WHERE trace IN (SELECT id FROM trace WHERE expires <= ?1))",
        logs: i64 = "(SELECT count(*) FROM log_row)",
        expired_logs: i64 =
            "(SELECT count(*) FROM log_row WHERE expires <= ?1) \
             + (SELECT count(*) FROM log_row WHERE trace IN (SELECT id FROM trace WHERE expires <= ?1))",
        metrics: i64 = "(SELECT count(*) FROM metric_point)",
        expired_metrics: i64 =
            "(SELECT count(*) FROM metric_point WHERE trace IS NULL AND expires <= ?1) \
             + (SELECT count(*) FROM metric_point WHERE trace IN (SELECT id FROM trace WHERE expires <= ?1))",
        oldest: Option<i64> = "(SELECT min(created) FROM trace WHERE expires > ?1)",
        incomplete_spans: i64 = "(SELECT count(*) FROM span_open)",
        waiting_ends: i64 = "(SELECT count(*) FROM end_waiting)",
    }
    const ALL = "";
}

/// Rules that no foreign key enforces: what a violation is, and a statement that counts the violations.
const RULES: [(&str, &str); 4] = [
    ("spans without their trace", "SELECT count(*) FROM span_row WHERE trace NOT IN (SELECT id FROM trace)"),
    (
        "incomplete spans without their trace",
        "SELECT count(*) FROM span_open WHERE trace NOT IN (SELECT id FROM trace)",
    ),
    // A row of no trace has null there, and null is not in an empty table.
    (
        "logs without their trace",
        "SELECT count(*) FROM log_row WHERE trace IS NOT NULL AND trace NOT IN (SELECT id FROM trace)",
    ),
    (
        "metric points without their trace or series",
        "SELECT count(*) FROM metric_point WHERE trace IS NOT NULL AND trace NOT IN (SELECT id FROM trace) \
         OR series NOT IN (SELECT id FROM metric_series)",
    ),
];

/// Examines the database at `config.path`, also while a program writes it. Changes nothing. With `quick`, indexes are
/// not compared with their tables.
///
/// # Errors
///
/// Returns an [`OpenError`] if there is no file, if another program or a newer version wrote it, or if it is so damaged
/// that it can't be opened.
pub async fn examine(config: &Config, quick: bool) -> Result<Examination, OpenError> {
    let path = &config.path;
    let database =
        std::fs::metadata(path).map_err(|source| OpenError::Missing { path: path.clone(), source })?.len();
    let failed = |error| OpenError::from_sqlx(path, error);
    // Before the file is opened: closing it later would end SQLite's own locks.
    let writer = writer_of(path);
    let mut db = connect::open(config, Role::Reader).await.map_err(failed)?;
    let version = match schema::file_kind(&mut db).await.map_err(failed)? {
        FileKind::Ours(version) if version <= schema::VERSION => version,
        kind => return Err(schema::refusal(kind, path)),
    };
    let problems = match problems(&mut db, quick).await {
        Ok(problems) => problems,
        // Some damage makes the check itself fail.
        Err(error) => vec![error.to_string()],
    };
    let mut found = Examination {
        path: path.clone(),
        schema: (version, schema::VERSION),
        writer,
        problems,
        sizes: Sizes { database, log: log_size(path), free: 0, cap: config.max_size },
        is_counted: false,
        stored: Rows::default(),
        expired: Rows::default(),
        oldest: None,
        incomplete_spans: 0,
        waiting_ends: 0,
    };
    match count(&mut db, &mut found).await {
        // What can't be counted is among the problems.
        Err(error) if found.problems.is_empty() => Err(failed(error)),
        counted => {
            found.is_counted = counted.is_ok();
            Ok(found)
        }
    }
}

/// Returns the violations of SQLite's own rules and of ours.
async fn problems(db: &mut SqliteConnection, quick: bool) -> Result<Vec<String>, sqlx::Error> {
    let check = if quick { "PRAGMA quick_check(20)" } else { "PRAGMA integrity_check(20)" };
    let mut problems: Vec<String> = sqlx::query_scalar(check).fetch_all(&mut *db).await?;
    problems.retain(|problem| problem != "ok");
    if problems.is_empty() {
        for (what, sql) in RULES {
            let broken: i64 = sqlx::query_scalar(sql).fetch_one(&mut *db).await?;
            if broken > 0 {
                problems.push(format!("{broken} {what}"));
            }
        }
    }
    Ok(problems)
}

/// Counts the rows and the free pages.
async fn count(db: &mut SqliteConnection, found: &mut Examination) -> Result<(), sqlx::Error> {
    let free = "SELECT f.freelist_count * s.page_size FROM pragma_freelist_count f, pragma_page_size s";
    found.sizes.free = sqlx::query_scalar::<_, i64>(free).fetch_one(&mut *db).await?.cast_unsigned();
    let row = sqlx::query(Counts::ALL).bind(Timestamp::now().as_nanos()).fetch_one(db).await?;
    let counts: Counts = read_row(&row)?;
    found.expired = Rows {
        traces: counts.expired_traces.cast_unsigned(),
        spans: counts.expired_spans.cast_unsigned(),
        logs: counts.expired_logs.cast_unsigned(),
        metrics: counts.expired_metrics.cast_unsigned(),
    };
    found.stored = Rows {
        traces: counts.live_traces.cast_unsigned(),
        spans: counts.spans.cast_unsigned().saturating_sub(found.expired.spans),
        logs: counts.logs.cast_unsigned().saturating_sub(found.expired.logs),
        metrics: counts.metrics.cast_unsigned().saturating_sub(found.expired.metrics),
    };
    found.oldest = counts.oldest.map(Timestamp::from_nanos);
    found.incomplete_spans = counts.incomplete_spans.cast_unsigned();
    found.waiting_ends = counts.waiting_ends.cast_unsigned();
    Ok(())
}
