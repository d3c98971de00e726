//! Traces: one, some, or all, in any order.

use futures_util::StreamExt as _;
use futures_util::stream;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use telemetry_core::query::{OrderColumn, TraceQuery, summarize};
use telemetry_core::{Pages, QueryError, Text, Timestamp, Trace, TraceId};

use super::order::ordered_numbers;
use super::{Reader, Session};
use crate::error::query_error;
use crate::rows::{span_id_of, trace_id_of};
use crate::statement::json_list;

/// Traces per page of an answer.
const PAGE: usize = 500;

/// Columns of a trace; its service's name is that of its root.
const COLUMNS: &str = "t.id, t.trace_id, t.start_time, t.end_time, t.root, v.name";

impl Session {
    /// Reads a trace; looks at its spans where no span without a parent is known.
    async fn trace(
        &mut self,
        row: &SqliteRow,
        service_name: &str,
    ) -> Result<Option<(i64, Trace)>, QueryError> {
        let number: i64 = row.try_get_unchecked(0).map_err(query_error)?;
        let trace_id = trace_id_of(row.try_get_unchecked(1).map_err(query_error)?).map_err(query_error)?;
        let Some(root) = row.try_get_unchecked::<Option<i64>, _>(4).map_err(query_error)? else {
            let spans = self.spans_of(number, trace_id).await?;
            return Ok(summarize(&spans, service_name).map(|trace| (number, trace)));
        };
        let read = || -> Result<Trace, sqlx::Error> {
            Ok(Trace {
                trace_id,
                root_span_id: span_id_of(root)?,
                start_time: Timestamp::from_nanos(row.try_get_unchecked(2)?),
                end_time: row.try_get_unchecked::<Option<i64>, _>(3)?.map(Timestamp::from_nanos),
                service_name: Text::Owned(
                    row.try_get_unchecked::<Option<String>, _>(5)?.unwrap_or_else(|| service_name.to_owned()),
                ),
            })
        };
        read().map(|trace| Some((number, trace))).map_err(query_error)
    }

    /// The traces of these numbers, in this order; those that have gone meanwhile are left out.
    pub(super) async fn traces(
        &mut self,
        numbers: &[i64],
        service_name: &str,
    ) -> Result<Vec<Trace>, QueryError> {
        static SQL: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
            format!(
                "SELECT {COLUMNS} FROM trace t LEFT JOIN service v ON v.id = t.service \
                 WHERE t.id IN (SELECT value FROM json_each(?1)) AND t.expires > ?2 AND t.start_time IS NOT NULL"
            )
        });
        let rows = sqlx::query(SQL.as_str())
            .bind(json_list(numbers.iter().copied()))
            .bind(self.now)
            .fetch_all(&mut *self.db)
            .await
            .map_err(query_error)?;
        let mut found = std::collections::HashMap::with_capacity(rows.len());
        for row in &rows {
            found.extend(self.trace(row, service_name).await?);
        }
        Ok(numbers.iter().filter_map(|number| found.remove(number)).collect())
    }

    /// The number of a trace that has spans and has not expired.
    pub(super) async fn number_of(&mut self, trace: TraceId) -> Result<Option<i64>, QueryError> {
        sqlx::query_scalar("SELECT id FROM trace WHERE lower(hex(trace_id)) = ?1 AND expires > ?2")
            .bind(trace.to_string())
            .bind(self.now)
            .fetch_optional(&mut *self.db)
            .await
            .map_err(query_error)
    }
}

impl Reader {
    pub(super) async fn get(&self, trace: TraceId) -> Result<Option<Trace>, QueryError> {
        let mut session = self.session().await?;
        let Some(number) = session.number_of(trace).await? else { return Ok(None) };
        Ok(session.traces(&[number], &self.0.service_name).await?.pop())
    }

    /// Traces in the order asked for, a page at a time.
    pub(super) fn traces(&self, query: TraceQuery) -> Pages<Trace> {
        let newest_first = match query.order.as_slice() {
            [] => true,
            [order] => order.column == OrderColumn::StartTime && order.descending,
            _ => false,
        };
        if newest_first && query.filters.is_empty() { self.newest(&query) } else { self.in_order(query) }
    }

    /// All traces, newest first: each page starts where the last one ended.
    fn newest(&self, query: &TraceQuery) -> Pages<Trace> {
        struct State {
            reader: Reader,
            left: u64,
            offset: u64,
            after: Option<(i64, Vec<u8>)>,
            done: bool,
        }
        let left = query.limit.unwrap_or(u64::MAX);
        let state = State { reader: self.clone(), left, offset: query.offset, after: None, done: left == 0 };
        Box::pin(stream::try_unfold(state, |mut state| async move {
            if state.done {
                return Ok(None);
            }
            let limit = state.left.min(PAGE as u64);
            let reader = state.reader.clone();
            let page = reader.within(reader.newest_page(state.after.as_ref(), limit, state.offset)).await?;
            state.offset = 0;
            state.left -= limit;
            state.done = state.left == 0 || (page.rows as u64) < limit;
            state.after = page.last;
            Ok(Some((page.traces, state)))
        }))
    }

    async fn newest_page(
        &self,
        after: Option<&(i64, Vec<u8>)>,
        limit: u64,
        offset: u64,
    ) -> Result<Page, QueryError> {
        static SQL: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
            format!(
                "SELECT {COLUMNS} FROM trace t LEFT JOIN service v ON v.id = t.service \
                 WHERE t.expires > ?1 AND t.start_time IS NOT NULL \
                 AND t.start_time <= ?2 AND (t.start_time < ?2 OR t.trace_id < ?3) \
                 ORDER BY t.start_time DESC, t.trace_id DESC LIMIT ?4 OFFSET ?5"
            )
        });
        let mut session = self.session().await?;
        // Before the first page: later than the latest possible start.
        let (start, id) = after.map_or((i64::MAX, &[0xff; 17][..]), |(start, id)| (*start, id));
        let rows = sqlx::query(SQL.as_str())
            .bind(session.now)
            .bind(start)
            .bind(id)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(i64::try_from(offset).unwrap_or(i64::MAX))
            .fetch_all(&mut *session.db)
            .await
            .map_err(query_error)?;
        let mut page = Page { rows: rows.len(), traces: Vec::with_capacity(rows.len()), last: None };
        for row in &rows {
            let read = || Ok((row.try_get_unchecked(2)?, row.try_get_unchecked(1)?));
            page.last = Some(read().map_err(query_error)?);
            page.traces.extend(session.trace(row, &self.0.service_name).await?.map(|(_, trace)| trace));
        }
        Ok(page)
    }

    /// Traces in any order: their numbers first, in order, then a page at a time.
    fn in_order(&self, query: TraceQuery) -> Pages<Trace> {
        let reader = self.clone();
        let numbers = {
            let reader = self.clone();
            async move { reader.within(ordered_numbers(&reader, &query)).await }
        };
        Box::pin(stream::once(numbers).flat_map(move |numbers| -> Pages<Trace> {
            let numbers = match numbers {
                Ok(numbers) => numbers,
                Err(error) => return Box::pin(stream::once(async { Err(error) })),
            };
            let reader = reader.clone();
            Box::pin(stream::try_unfold((reader, numbers, 0), |(reader, numbers, at)| async move {
                if at >= numbers.len() {
                    return Ok(None);
                }
                let end = numbers.len().min(at + PAGE);
                let read = async {
                    let mut session = reader.session().await?;
                    session.traces(&numbers[at..end], &reader.0.service_name).await
                };
                let page = reader.within(read).await?;
                Ok(Some((page, (reader, numbers, end))))
            }))
        }))
    }
}

struct Page {
    rows: usize,
    traces: Vec<Trace>,
    last: Option<(i64, Vec<u8>)>,
}
