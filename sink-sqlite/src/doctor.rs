//! What state a file is in: for people who ask before they trust it.

use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use telemetry_core::Timestamp;

use crate::config::Config;
use crate::connect::{self, Role};
use crate::error::OpenError;
use crate::lock::WriterLock;
use crate::schema::{self, FileKind};

/// What [`examine`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Examination {
    /// The file.
    pub path: PathBuf,
    /// Its schema version, and the latest that this program knows. An older one is migrated at the next start.
    pub schema: (i64, i64),
    /// A program that writes it now.
    pub writer: Option<String>,
    /// What `PRAGMA integrity_check` and the tables' own rules complain about; empty when the file is sound.
    pub problems: Vec<String>,
    /// Bytes on disk.
    pub sizes: Sizes,
    /// What is stored, the expired left out.
    pub stored: Rows,
    /// What has expired and is not deleted yet: the next purge deletes it.
    pub expired: Rows,
    /// When the oldest of what is stored arrived.
    pub oldest: Option<Timestamp>,
    /// Spans of which one half is known.
    pub half_spans: u64,
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
    /// Pages in the file that hold nothing; given back step by step.
    pub free: u64,
    /// The cap, `max_size`, if one is configured.
    pub cap: Option<u64>,
}

/// Rows by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rows {
    /// Traces.
    pub traces: u64,
    /// Spans, finished or not.
    pub spans: u64,
    /// Logs and span events.
    pub logs: u64,
    /// Measurements.
    pub metrics: u64,
}

const COUNTS: &str = "SELECT \
     (SELECT count(*) FROM trace WHERE expires > ?1) AS live_traces, \
     (SELECT count(*) FROM trace WHERE expires <= ?1), \
     (SELECT count(*) FROM span_row) + (SELECT count(*) FROM span_open), \
     (SELECT count(*) FROM span_row WHERE trace IN (SELECT id FROM trace WHERE expires <= ?1)) \
       + (SELECT count(*) FROM span_open WHERE trace IN (SELECT id FROM trace WHERE expires <= ?1)), \
     (SELECT count(*) FROM log_row), \
     (SELECT count(*) FROM log_row WHERE expires <= ?1) \
       + (SELECT count(*) FROM log_row WHERE trace IN (SELECT id FROM trace WHERE expires <= ?1)), \
     (SELECT count(*) FROM metric_point), \
     (SELECT count(*) FROM metric_point WHERE trace IS NULL AND expires <= ?1) \
       + (SELECT count(*) FROM metric_point WHERE trace IN (SELECT id FROM trace WHERE expires <= ?1)), \
     (SELECT min(created) FROM trace WHERE expires > ?1), \
     (SELECT count(*) FROM span_open), \
     (SELECT count(*) FROM end_waiting)";

/// Rules that no foreign key states, and what breaks them.
const RULES: [(&str, &str); 4] = [
    ("spans without their trace", "SELECT count(*) FROM span_row WHERE trace NOT IN (SELECT id FROM trace)"),
    (
        "half spans without their trace",
        "SELECT count(*) FROM span_open WHERE trace NOT IN (SELECT id FROM trace)",
    ),
    ("logs without their trace", "SELECT count(*) FROM log_row WHERE trace NOT IN (SELECT id FROM trace)"),
    (
        "measurements without their trace or series",
        "SELECT count(*) FROM metric_point WHERE trace NOT IN (SELECT id FROM trace) \
         OR series NOT IN (SELECT id FROM metric_series)",
    ),
];

/// Looks at the database at `config.path`, also while a program writes it; changes nothing. With
/// `quick`, indexes are not compared with their tables.
///
/// # Errors
///
/// An [`OpenError`] where there is nothing to look at: no file, one of another program or of a newer
/// version, or one so damaged that it can't be opened.
pub async fn examine(config: &Config, quick: bool) -> Result<Examination, OpenError> {
    let path = &config.path;
    let database =
        std::fs::metadata(path).map_err(|source| OpenError::Missing { path: path.clone(), source })?.len();
    let failed = |error| OpenError::from_sqlx(path, error);
    let mut db = connect::open(config, Role::Reader).await.map_err(failed)?;
    let version = match schema::recognise(&mut db).await.map_err(failed)? {
        FileKind::Ours(version) if version <= schema::VERSION => version,
        kind => return Err(schema::refusal(kind, path)),
    };
    let problems = match problems(&mut db, quick).await {
        Ok(problems) => problems,
        // Some damage ends the check itself.
        Err(error) => vec![error.to_string()],
    };
    let mut found = Examination {
        path: path.clone(),
        schema: (version, schema::VERSION),
        writer: WriterLock::holder(path),
        problems,
        sizes: Sizes { database, log: log_size(path), free: 0, cap: config.max_size },
        stored: Rows::default(),
        expired: Rows::default(),
        oldest: None,
        half_spans: 0,
        waiting_ends: 0,
    };
    match count(&mut db, &mut found).await {
        // What can't be counted has been complained about.
        Err(error) if found.problems.is_empty() => Err(failed(error)),
        Ok(()) | Err(_) => Ok(found),
    }
}

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

async fn count(db: &mut SqliteConnection, found: &mut Examination) -> Result<(), sqlx::Error> {
    let free = "SELECT f.freelist_count * s.page_size FROM pragma_freelist_count f, pragma_page_size s";
    found.sizes.free = sqlx::query_scalar::<_, i64>(free).fetch_one(&mut *db).await?.cast_unsigned();
    let row = sqlx::query(COUNTS).bind(Timestamp::now().as_nanos()).fetch_one(db).await?;
    let number = |column| row_number(&row, column);
    found.expired = Rows { traces: number(1)?, spans: number(3)?, logs: number(5)?, metrics: number(7)? };
    found.stored = Rows {
        traces: number(0)?,
        spans: number(2)?.saturating_sub(found.expired.spans),
        logs: number(4)?.saturating_sub(found.expired.logs),
        metrics: number(6)?.saturating_sub(found.expired.metrics),
    };
    found.oldest = row.try_get_unchecked::<Option<i64>, _>(8)?.map(Timestamp::from_nanos);
    found.half_spans = number(9)?;
    found.waiting_ends = number(10)?;
    Ok(())
}

fn row_number(row: &SqliteRow, column: usize) -> Result<u64, sqlx::Error> {
    row.try_get_unchecked::<i64, _>(column).map(i64::cast_unsigned)
}

/// Bytes of the write-ahead log beside a database.
pub(crate) fn log_size(database: &Path) -> u64 {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
