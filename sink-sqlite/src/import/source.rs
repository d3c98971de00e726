//! Reads the reference's tables, in short pages. The file is never written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions as _, Row as _, SqliteConnection};

use super::ImportError;
use crate::schema::{FileKind, recognise};

/// A row of `spans`, with the name of its trace's service.
#[derive(Debug, Default)]
pub(super) struct SpanRow {
    pub(super) row: i64,
    pub(super) span_id: Option<String>,
    pub(super) trace_id: Option<String>,
    pub(super) parent_span_id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) start_time: Option<String>,
    pub(super) end_time: Option<String>,
    pub(super) attributes: Option<String>,
    pub(super) status: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) service_name: Option<String>,
    /// Why the row could not be read.
    pub(super) unreadable: Option<String>,
}

/// A row of `span_events`.
#[derive(Debug, Default)]
pub(super) struct EventRow {
    pub(super) row: i64,
    pub(super) span_id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) timestamp: Option<String>,
    pub(super) attributes: Option<String>,
    /// Why the row could not be read.
    pub(super) unreadable: Option<String>,
}

/// The reference's database.
pub(super) struct Source {
    path: PathBuf,
    db: SqliteConnection,
}

/// The reference has no index that finds the events of a span: one of our own, in a temporary file.
const INDEX: &str = "CREATE TEMP TABLE event_of (span_id TEXT, id INTEGER, PRIMARY KEY (span_id, id)) WITHOUT ROWID; \
     INSERT INTO event_of SELECT coalesce(CAST(span_id AS TEXT), ''), id FROM span_events; \
     CREATE TEMP TABLE no_span (place INTEGER PRIMARY KEY, id INTEGER); \
     INSERT INTO no_span (id) SELECT e.id FROM event_of o JOIN span_events e ON e.id = o.id \
       WHERE NOT EXISTS (SELECT 1 FROM spans s WHERE s.span_id = o.span_id) \
       ORDER BY e.timestamp, e.name, e.attributes, e.id;";

const SPANS: &str = "SELECT s.rowid, s.span_id, s.trace_id, s.parent_span_id, s.name, s.start_time, s.end_time, \
     s.attributes, s.status, s.kind, t.service_name \
     FROM spans s LEFT JOIN traces t ON t.trace_id = s.trace_id WHERE s.rowid > ?1 ORDER BY s.rowid LIMIT ?2";

const EVENTS: &str = "SELECT e.id, e.span_id, e.name, e.timestamp, e.attributes \
     FROM json_each(?1) j CROSS JOIN event_of o ON o.span_id = j.value CROSS JOIN span_events e ON e.id = o.id \
     ORDER BY e.id";

// Events that are alike lie together, so that counting those stored before takes no memory.
const EVENTS_WITHOUT_SPANS: &str = "SELECT e.id, e.span_id, e.name, e.timestamp, e.attributes \
     FROM no_span n CROSS JOIN span_events e ON e.id = n.id WHERE n.place > ?1 ORDER BY n.place LIMIT ?2";

const TRACES_WITHOUT_SPANS: &str = "SELECT rowid FROM traces \
     WHERE trace_id NOT IN (SELECT trace_id FROM spans WHERE trace_id IS NOT NULL) ORDER BY rowid";

impl Source {
    /// Opens the file and looks whether Llama Stack wrote it.
    pub(super) async fn open(path: &Path) -> Result<Self, ImportError> {
        let failed = |source| ImportError::Unreadable { path: path.to_owned(), source };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .busy_timeout(std::time::Duration::from_secs(10))
            .pragma("temp_store", "file")
            .thread_name(|_| "sqlite-import".to_owned())
            .disable_statement_logging();
        let mut db = options.connect().await.map_err(failed)?;
        let not_reference = |found| ImportError::NotReference { path: path.to_owned(), found };
        match recognise(&mut db).await.map_err(failed)? {
            FileKind::Reference => Ok(Self { path: path.to_owned(), db }),
            FileKind::Ours(_) => {
                Err(not_reference("this program wrote it; use it as it is, as `sqlite_db_path`"))
            }
            FileKind::Empty => Err(not_reference("it is empty")),
            FileKind::Foreign => {
                Err(not_reference("it lacks the tables `traces`, `spans` and `span_events`"))
            }
        }
    }

    /// Makes the events of a span quick to find; gives the number of rows.
    pub(super) async fn prepare(&mut self) -> Result<u64, ImportError> {
        let prepared = async {
            sqlx::raw_sql(INDEX).execute(&mut self.db).await?;
            sqlx::query_scalar("SELECT (SELECT count(*) FROM spans) + (SELECT count(*) FROM span_events)")
                .fetch_one(&mut self.db)
                .await
        };
        let rows: i64 = prepared.await.map_err(|source| self.unreadable(source))?;
        Ok(rows.cast_unsigned())
    }

    /// The spans after this row.
    pub(super) async fn spans(&mut self, after: i64, limit: i64) -> Result<Vec<SpanRow>, ImportError> {
        let rows = sqlx::query(SPANS).bind(after).bind(limit).fetch_all(&mut self.db).await;
        let rows = rows.map_err(|source| self.unreadable(source))?;
        Ok(rows.iter().map(span_row).collect())
    }

    /// The events of spans, by their span's id as it is written there.
    pub(super) async fn events_of(
        &mut self,
        spans: &[&str],
    ) -> Result<HashMap<String, Vec<EventRow>>, ImportError> {
        let list = serde_json::Value::from(spans.to_vec()).to_string();
        let rows = sqlx::query(EVENTS).bind(list).fetch_all(&mut self.db).await;
        let mut events = HashMap::<String, Vec<EventRow>>::new();
        for row in rows.map_err(|source| self.unreadable(source))? {
            let event = event_row(&row);
            events.entry(event.span_id.clone().unwrap_or_default()).or_default().push(event);
        }
        Ok(events)
    }

    /// Events whose span is missing, without the first `after`.
    pub(super) async fn events_without_spans(
        &mut self,
        after: i64,
        limit: i64,
    ) -> Result<Vec<EventRow>, ImportError> {
        let rows = sqlx::query(EVENTS_WITHOUT_SPANS).bind(after).bind(limit).fetch_all(&mut self.db).await;
        Ok(rows.map_err(|source| self.unreadable(source))?.iter().map(event_row).collect())
    }

    /// The rows of traces without a span.
    pub(super) async fn traces_without_spans(&mut self) -> Result<Vec<i64>, ImportError> {
        let rows = sqlx::query_scalar(TRACES_WITHOUT_SPANS).fetch_all(&mut self.db).await;
        rows.map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: sqlx::Error) -> ImportError {
        ImportError::Unreadable { path: self.path.clone(), source }
    }
}

/// Columns are read as the text they are or can be written as: SQLite's types are the row's own.
fn span_row(row: &SqliteRow) -> SpanRow {
    let read = || -> Result<SpanRow, sqlx::Error> {
        let text = |column: usize| row.try_get_unchecked::<Option<String>, _>(column);
        Ok(SpanRow {
            row: row.try_get_unchecked(0)?,
            span_id: text(1)?,
            trace_id: text(2)?,
            parent_span_id: text(3)?,
            name: text(4)?,
            start_time: text(5)?,
            end_time: text(6)?,
            attributes: text(7)?,
            status: text(8)?,
            kind: text(9)?,
            service_name: text(10)?,
            unreadable: None,
        })
    };
    read().unwrap_or_else(|error| SpanRow {
        row: row.try_get_unchecked(0).unwrap_or_default(),
        span_id: row.try_get_unchecked(1).ok().flatten(),
        unreadable: Some(error.to_string()),
        ..SpanRow::default()
    })
}

fn event_row(row: &SqliteRow) -> EventRow {
    let read = || -> Result<EventRow, sqlx::Error> {
        let text = |column: usize| row.try_get_unchecked::<Option<String>, _>(column);
        Ok(EventRow {
            row: row.try_get_unchecked(0)?,
            span_id: text(1)?,
            name: text(2)?,
            timestamp: text(3)?,
            attributes: text(4)?,
            unreadable: None,
        })
    };
    read().unwrap_or_else(|error| EventRow {
        row: row.try_get_unchecked(0).unwrap_or_default(),
        span_id: row.try_get_unchecked(1).ok().flatten(),
        unreadable: Some(error.to_string()),
        ..EventRow::default()
    })
}
