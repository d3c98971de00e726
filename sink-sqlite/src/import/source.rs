//! Reads the tables of the reference, page by page. Never writes to the file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions as _, SqliteConnection};

use super::report::ImportError;
use crate::rows::{ColumnReader, FromColumns, read_row, selected_columns};
use crate::schema::{FileKind, file_kind};

selected_columns! {
    /// A row of `spans`, with the service name of its trace. SQLite lets each column have any type: they are read as the
    /// text that they are or can be written as.
    #[derive(Debug, Default)]
    pub(super) struct SpanRow {
        row: i64 = "s.rowid",
        span_id: Option<String> = "s.span_id",
        trace_id: Option<String> = "s.trace_id",
        parent_span_id: Option<String> = "s.parent_span_id",
        name: Option<String> = "s.name",
        start_time: Option<String> = "s.start_time",
        end_time: Option<String> = "s.end_time",
        attributes: Option<String> = "s.attributes",
        status: Option<String> = "s.status",
        kind: Option<String> = "s.kind",
        service_name: Option<String> = "t.service_name",
    }
    const AFTER =
        "FROM spans s LEFT JOIN traces t ON t.trace_id = s.trace_id WHERE s.rowid > ?1 ORDER BY s.rowid LIMIT ?2";
}

selected_columns! {
    /// A row of `span_events`.
    #[derive(Debug, Default)]
    pub(super) struct EventRow {
        row: i64 = "e.id",
        span_id: Option<String> = "e.span_id",
        name: Option<String> = "e.name",
        timestamp: Option<String> = "e.timestamp",
        attributes: Option<String> = "e.attributes",
    }
    const OF_SPANS =
        "FROM json_each(?1) j CROSS JOIN event_of o ON o.span_id = j.value CROSS JOIN span_events e ON e.id = o.id \
         ORDER BY e.id";
    /// Equal events come one after the other, so that counting those stored before needs no memory.
    const WITHOUT_SPANS =
        "FROM no_span n CROSS JOIN span_events e ON e.id = n.id WHERE n.place > ?1 ORDER BY n.place LIMIT ?2";
}

/// An event that was read, or why it was not.
pub(super) type ReadEvent = Result<EventRow, UnreadableRow>;

/// A row that can't be read.
#[derive(Debug)]
pub(super) struct UnreadableRow {
    pub(super) row: i64,
    pub(super) span_id: Option<String>,
    pub(super) reason: String,
}

/// A database of the reference.
pub(super) struct Source {
    path: PathBuf,
    db: SqliteConnection,
}

/// Creates an index of the events by span in a temporary file, since the reference has none. Lists the events whose
/// span is missing.
const INDEX: &str = "CREATE TEMP TABLE event_of (span_id TEXT, id INTEGER, PRIMARY KEY (span_id, id)) WITHOUT ROWID; \
     INSERT INTO event_of SELECT coalesce(CAST(span_id AS TEXT), ''), id FROM span_events; \
     CREATE TEMP TABLE no_span (place INTEGER PRIMARY KEY, id INTEGER); \
     INSERT INTO no_span (id) SELECT e.id FROM event_of o JOIN span_events e ON e.id = o.id \
       WHERE NOT EXISTS (SELECT 1 FROM spans s WHERE s.span_id = o.span_id) \
       ORDER BY e.timestamp, e.name, e.attributes, e.id;";

const TRACES_WITHOUT_SPANS: &str = "SELECT rowid FROM traces \
     WHERE trace_id NOT IN (SELECT trace_id FROM spans WHERE trace_id IS NOT NULL) ORDER BY rowid";

impl Source {
    /// Opens the file and checks that Llama Stack wrote it.
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
        match file_kind(&mut db).await.map_err(failed)? {
            FileKind::Reference => Ok(Self { path: path.to_owned(), db }),
            FileKind::Ours(_) => {
                Err(not_reference("this program wrote it; use it directly, as `sqlite_db_path`"))
            }
            FileKind::Empty => Err(not_reference("it is empty")),
            FileKind::Foreign => {
                Err(not_reference("it lacks the tables `traces`, `spans` and `span_events`"))
            }
        }
    }

    /// Indexes the events by span. Returns the number of rows of spans and events.
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

    /// Returns the next spans after this row.
    pub(super) async fn spans(
        &mut self,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Result<SpanRow, UnreadableRow>>, ImportError> {
        let rows = sqlx::query(SpanRow::AFTER).bind(after).bind(limit).fetch_all(&mut self.db).await;
        let rows = rows.map_err(|source| self.unreadable(source))?;
        Ok(rows.iter().map(read).collect())
    }

    /// Returns the events of spans, by the id of their span as the file writes it.
    pub(super) async fn events_of(
        &mut self,
        spans: &[&str],
    ) -> Result<HashMap<String, Vec<ReadEvent>>, ImportError> {
        let list = serde_json::Value::from(spans.to_vec()).to_string();
        let rows = sqlx::query(EventRow::OF_SPANS).bind(list).fetch_all(&mut self.db).await;
        let mut events = HashMap::<String, Vec<ReadEvent>>::new();
        for row in rows.map_err(|source| self.unreadable(source))? {
            let event: ReadEvent = read(&row);
            let span_id = event.as_ref().map_or_else(|row| &row.span_id, |row| &row.span_id);
            events.entry(span_id.clone().unwrap_or_default()).or_default().push(event);
        }
        Ok(events)
    }

    /// Returns events whose span is missing, without the first `after`.
    pub(super) async fn events_without_spans(
        &mut self,
        after: i64,
        limit: i64,
    ) -> Result<Vec<ReadEvent>, ImportError> {
        let rows = sqlx::query(EventRow::WITHOUT_SPANS).bind(after).bind(limit).fetch_all(&mut self.db).await;
        Ok(rows.map_err(|source| self.unreadable(source))?.iter().map(read).collect())
    }

    /// Returns the rows of traces without a span.
    pub(super) async fn traces_without_spans(&mut self) -> Result<Vec<i64>, ImportError> {
        let rows = sqlx::query_scalar(TRACES_WITHOUT_SPANS).fetch_all(&mut self.db).await;
        rows.map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: sqlx::Error) -> ImportError {
        ImportError::Unreadable { path: self.path.clone(), source }
    }
}

/// Reads a row, whose first two columns are its number and the id of its span.
fn read<'r, T: FromColumns<'r>>(row: &'r SqliteRow) -> Result<T, UnreadableRow> {
    read_row(row).map_err(|error: sqlx::Error| {
        let mut columns = ColumnReader::new(row);
        UnreadableRow {
            row: columns.read().unwrap_or_default(),
            span_id: columns.read().unwrap_or_default(),
            reason: error.to_string(),
        }
    })
}
