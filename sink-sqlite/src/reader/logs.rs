//! Logs, of a span or of all.

use std::sync::LazyLock;

use futures_util::stream;
use sqlx::sqlite::SqliteRow;
use telemetry_core::query::LogQuery;
use telemetry_core::{LogRecord, Pages, QueryError, SpanKey, Timestamp};

use super::session::{Reader, Session};
use crate::error::query_error;
use crate::rows::{LogColumns, Services, read_row, select_list, span_id_bits};

/// Logs that one read looks at.
const STEP: i64 = 2_000;

/// A log with its number, by which logs and metric points are in order of arrival.
pub(super) type NumberedLog = (i64, LogRecord);

/// Returns `SELECT …`, whose rows [`read_log`] reads.
fn select() -> String {
    format!("SELECT l.id, t.trace_id, {} FROM log_row l", select_list::<LogColumns<'_>>("l"))
}

fn read_log(row: &SqliteRow, services: &Services) -> Result<NumberedLog, sqlx::Error> {
    let (id, trace_id, columns): (i64, Option<&[u8]>, LogColumns<'_>) = read_row(row)?;
    Ok((id, columns.into_log(trace_id, services)?))
}

impl Session {
    /// Returns the logs of a span.
    pub(super) async fn logs_of(&mut self, trace: i64, key: SpanKey) -> Result<Vec<NumberedLog>, QueryError> {
        static OF_SPAN: LazyLock<String> = LazyLock::new(|| {
            format!("{} JOIN trace t ON t.id = l.trace WHERE l.trace = ?1 AND l.span_id = ?2", select())
        });
        let rows = sqlx::query(OF_SPAN.as_str())
            .bind(trace)
            .bind(span_id_bits(key.span_id))
            .fetch_all(&mut *self.db)
            .await
            .map_err(query_error)?;
        rows.iter().map(|row| read_log(row, &self.services)).collect::<Result<_, _>>().map_err(query_error)
    }

    /// Returns the next logs in order, from where the read before ended.
    async fn next_logs(
        &mut self,
        query: &LogQuery,
        trace: Option<i64>,
        after: (i64, i64),
    ) -> Result<Vec<NumberedLog>, QueryError> {
        static OF_TRACE: LazyLock<String> = LazyLock::new(|| {
            format!(
                "{} JOIN trace t ON t.id = l.trace \
                 WHERE l.trace = ?6 AND l.time <= ?1 AND (l.time < ?1 OR l.id < ?2) AND l.time >= ?3 \
                 AND t.expires > ?4 ORDER BY l.time DESC, l.id DESC LIMIT ?5",
                select()
            )
        });
        static OF_ALL: LazyLock<String> = LazyLock::new(|| {
            format!(
                "{} LEFT JOIN trace t ON t.id = l.trace \
                 WHERE l.time <= ?1 AND (l.time < ?1 OR l.id < ?2) AND l.time >= ?3 \
                 AND coalesce(l.expires, t.expires) > ?4 AND ?6 IS NULL ORDER BY l.time DESC, l.id DESC LIMIT ?5",
                select()
            )
        });
        let sql = if trace.is_some() { OF_TRACE.as_str() } else { OF_ALL.as_str() };
        let rows = sqlx::query(sql)
            .bind(after.0)
            .bind(after.1)
            .bind(query.start.map_or(i64::MIN, Timestamp::as_nanos))
            .bind(self.now)
            .bind(STEP)
            .bind(trace)
            .fetch_all(&mut *self.db)
            .await
            .map_err(query_error)?;
        rows.iter().map(|row| read_log(row, &self.services)).collect::<Result<_, _>>().map_err(query_error)
    }
}

impl Reader {
    /// Returns logs, newest first, in pages of one read each.
    pub(super) fn logs(&self, query: LogQuery) -> Pages<LogRecord> {
        struct State {
            reader: Reader,
            query: LogQuery,
            /// Time and number of the log that was looked at last.
            after: (i64, i64),
            skip: u64,
            left: u64,
            done: bool,
        }
        let after = (query.end.map_or(i64::MAX, Timestamp::as_nanos), i64::MAX);
        let left = query.limit.unwrap_or(u64::MAX);
        let state = State { reader: self.clone(), after, skip: query.offset, left, done: left == 0, query };
        Box::pin(stream::try_unfold(state, |mut state| async move {
            if state.done {
                return Ok(None);
            }
            let reader = state.reader.clone();
            let read = async {
                let mut session = reader.session().await?;
                let trace = match state.query.trace_id {
                    None => None,
                    Some(trace_id) => match session.number_of(trace_id).await? {
                        Some(number) => Some(number),
                        None => return Ok(Vec::new()),
                    },
                };
                session.next_logs(&state.query, trace, state.after).await
            };
            let logs: Vec<NumberedLog> = reader.within_timeout(read).await?;
            state.done = logs.len() < usize::try_from(STEP).unwrap_or(usize::MAX);
            if let Some((id, log)) = logs.last() {
                state.after = (log.timestamp.as_nanos(), *id);
            }
            let mut page = Vec::new();
            for (_, log) in logs.into_iter().filter(|(_, log)| state.query.matches(log)) {
                if state.skip > 0 {
                    state.skip -= 1;
                } else if state.left > 0 {
                    state.left -= 1;
                    page.push(log);
                }
            }
            state.done |= state.left == 0;
            Ok(Some((page, state)))
        }))
    }
}
