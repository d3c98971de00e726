//! Traces: one, or those that match, in any order.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use futures_util::stream;
use telemetry_core::query::{OrderColumn, TraceQuery, summarize};
use telemetry_core::{Pages, QueryError, Text, Timestamp, Trace, TraceId};

use super::order_traces::ordered_numbers;
use super::session::{Reader, Session};
use crate::bulk_statement::json_list;
use crate::error::query_error;
use crate::rows::{read_row, selected_columns, span_id_of, trace_id_of};

/// Traces per page of an answer.
const PAGE: usize = 500;

selected_columns! {
    /// A trace, and the name of its root's service.
    struct TraceRow<'r> {
        number: i64 = "t.id",
        trace_id: &'r [u8] = "t.trace_id",
        start_time: i64 = "t.start_time",
        end_time: Option<i64> = "t.end_time",
        root: Option<i64> = "t.root",
        service_name: Option<String> = "v.name",
    }
    const BY_NUMBER =
        "FROM trace t LEFT JOIN service v ON v.id = t.service \
         WHERE t.id IN (SELECT value FROM json_each(?1)) AND t.expires > ?2 AND t.start_time IS NOT NULL";
    const NEWEST_AFTER =
        "FROM trace t LEFT JOIN service v ON v.id = t.service \
         WHERE t.expires > ?1 AND t.start_time IS NOT NULL \
         AND t.start_time <= ?2 AND (t.start_time < ?2 OR t.trace_id < ?3) \
         ORDER BY t.start_time DESC, t.trace_id DESC LIMIT ?4 OFFSET ?5";
}

impl Session {
    /// Returns the trace of a row. Reads its spans if no span without a parent is known.
    async fn trace_of_row(
        &mut self,
        row: TraceRow<'_>,
        service_name: &str,
    ) -> Result<Option<Trace>, QueryError> {
        let trace_id = trace_id_of(row.trace_id).map_err(query_error)?;
        let Some(root) = row.root else {
            let spans = self.spans_of(row.number, trace_id).await?;
            return Ok(summarize(&spans, service_name));
        };
        Ok(Some(Trace {
            trace_id,
            root_span_id: span_id_of(root).map_err(query_error)?,
            start_time: Timestamp::from_nanos(row.start_time),
            end_time: row.end_time.map(Timestamp::from_nanos),
            service_name: Text::Owned(row.service_name.unwrap_or_else(|| service_name.to_owned())),
        }))
    }

    /// Returns the traces with these numbers, in this order. Leaves out those that have expired meanwhile.
    pub(super) async fn traces(
        &mut self,
        numbers: &[i64],
        service_name: &str,
    ) -> Result<Vec<Trace>, QueryError> {
        let rows = sqlx::query(TraceRow::BY_NUMBER)
            .bind(json_list(numbers.iter().copied()))
            .bind(self.now)
            .fetch_all(&mut *self.db)
            .await
            .map_err(query_error)?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            let row: TraceRow<'_> = read_row(row).map_err(query_error)?;
            let number = row.number;
            found.extend(self.trace_of_row(row, service_name).await?.map(|trace| (number, trace)));
        }
        Ok(numbers.iter().filter_map(|number| found.remove(number)).collect())
    }

    /// Returns the number of a trace that has not expired.
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
    /// Returns a trace.
    pub(super) async fn trace(&self, trace: TraceId) -> Result<Option<Trace>, QueryError> {
        let mut session = self.session().await?;
        let Some(number) = session.number_of(trace).await? else { return Ok(None) };
        Ok(session.traces(&[number], self.service_name()).await?.pop())
    }

    /// Returns traces in the order of the query, page by page.
    pub(super) fn traces(&self, query: TraceQuery) -> Pages<Trace> {
        let newest_first = match query.order.as_slice() {
            [] => true,
            [order] => order.column == OrderColumn::StartTime && order.descending,
            _ => false,
        };
        if newest_first && query.filters.is_empty() { self.newest(&query) } else { self.in_order(query) }
    }

    /// Returns all traces, newest first. Each page starts where the one before ended.
    fn newest(&self, query: &TraceQuery) -> Pages<Trace> {
        struct State {
            reader: Reader,
            left: u64,
            offset: u64,
            /// Start and id of the last trace of the page before.
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
            let page =
                reader.within_timeout(reader.newest_page(state.after.as_ref(), limit, state.offset)).await?;
            state.offset = 0;
            state.left -= limit;
            state.done = state.left == 0 || (page.rows as u64) < limit;
            state.after = page.last;
            Ok(Some((page.traces, state)))
        }))
    }

    /// Reads one page of [`Self::newest`].
    async fn newest_page(
        &self,
        after: Option<&(i64, Vec<u8>)>,
        limit: u64,
        offset: u64,
    ) -> Result<Page, QueryError> {
        let mut session = self.session().await?;
        // The first page starts at the latest possible start.
        let (start, id) = after.map_or((i64::MAX, &[0xff; 17][..]), |(start, id)| (*start, id));
        let rows = sqlx::query(TraceRow::NEWEST_AFTER)
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
            let row: TraceRow<'_> = read_row(row).map_err(query_error)?;
            page.last = Some((row.start_time, row.trace_id.to_vec()));
            page.traces.extend(session.trace_of_row(row, self.service_name()).await?);
        }
        Ok(page)
    }

    /// Returns traces in any order: reads their numbers in order first, then the traces page by page.
    fn in_order(&self, query: TraceQuery) -> Pages<Trace> {
        let reader = self.clone();
        let numbers = {
            let reader = self.clone();
            async move { reader.within_timeout(ordered_numbers(&reader, &query)).await }
        };
        Box::pin(stream::once(numbers).flat_map(move |numbers| -> Pages<Trace> {
            let numbers = match numbers {
                Ok(numbers) => numbers,
                Err(error) => return Box::pin(stream::once(async { Err(error) })),
            };
            let reader = reader.clone();
            Box::pin(stream::try_unfold((reader, numbers, 0), |(reader, numbers, start)| async move {
                if start >= numbers.len() {
                    return Ok(None);
                }
                let end = numbers.len().min(start + PAGE);
                let read = async {
                    let mut session = reader.session().await?;
                    session.traces(&numbers[start..end], reader.service_name()).await
                };
                let page = reader.within_timeout(read).await?;
                Ok(Some((page, (reader, numbers, end))))
            }))
        }))
    }
}

struct Page {
    /// Rows read. There may be fewer traces.
    rows: usize,
    traces: Vec<Trace>,
    /// Start and id of the last row.
    last: Option<(i64, Vec<u8>)>,
}
