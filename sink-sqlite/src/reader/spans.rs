//! Spans: one, a tree, or those of the traces that match.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use futures_util::{TryStreamExt as _, stream};
use sqlx::sqlite::SqliteRow;
use telemetry_core::query::{
    SpanQuery, SpanTree, TraceQuery, TreeQuery, spans_from_root, tree_of, with_attributes,
};
use telemetry_core::{
    Pages, QueryError, RetainedBytes as _, Span, SpanEvent, SpanId, SpanKey, SpanState, TraceId,
};

use super::order_traces::ordered_numbers;
use super::session::{Reader, Session};
use crate::bulk_statement::json_list;
use crate::error::query_error;
use crate::postings;
use crate::rows::{
    Services, SpanColumns, StoredWord as _, read_row, select_list, span_id_bits, trace_id_of, word,
};

/// Spans per page of an answer. A page has more if a single trace has more.
const PAGE: usize = 1_000;
/// Bytes in memory per page, with the same exception.
const PAGE_BYTES: usize = 512 << 10;

/// Returns a statement that selects finished and incomplete spans with their state, for which `condition` is true. `?2` is
/// the state of finished spans.
fn select_where(condition: &str) -> String {
    let columns = select_list::<SpanColumns<'_>>("s");
    format!(
        "SELECT {columns}, ?2 AS state FROM span_row s WHERE {condition} \
         UNION ALL SELECT {columns}, s.state FROM span_open s WHERE {condition}"
    )
}

impl Session {
    /// Returns all spans of a trace, without their events.
    pub(super) async fn spans_of(&mut self, trace: i64, trace_id: TraceId) -> Result<Vec<Span>, QueryError> {
        static OF_TRACE: LazyLock<String> = LazyLock::new(|| select_where("s.trace = ?1"));
        let Self { db, services, .. } = self;
        let query = sqlx::query(OF_TRACE.as_str()).bind(trace).bind(SpanState::Ended.code());
        let mut rows = query.fetch(&mut **db);
        let mut spans = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(query_error)? {
            spans.push(read_span(&row, trace_id, services).map_err(query_error)?);
        }
        Ok(spans)
    }

    /// Returns the id of a trace, unless it has expired meanwhile.
    async fn trace_id_of(&mut self, trace: i64) -> Result<Option<TraceId>, QueryError> {
        let row: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT trace_id FROM trace WHERE id = ?1 AND expires > ?2")
                .bind(trace)
                .bind(self.now)
                .fetch_optional(&mut *self.db)
                .await
                .map_err(query_error)?;
        row.map(|id| trace_id_of(&id)).transpose().map_err(query_error)
    }

    /// Returns one span, without its events.
    async fn span_without_events(&mut self, trace: i64, key: SpanKey) -> Result<Option<Span>, QueryError> {
        static ONE: LazyLock<String> = LazyLock::new(|| select_where("s.trace = ?1 AND s.span_id = ?3"));
        let row = sqlx::query(ONE.as_str())
            .bind(trace)
            .bind(SpanState::Ended.code())
            .bind(span_id_bits(key.span_id))
            .fetch_optional(&mut *self.db)
            .await
            .map_err(query_error)?;
        let read = row.map(|row| read_span(&row, key.trace_id, &self.services));
        read.transpose().map_err(query_error)
    }

    /// Returns the trace in which a span of this id started last.
    async fn trace_of(
        &mut self,
        reader: &Reader,
        span: SpanId,
    ) -> Result<Option<(i64, TraceId)>, QueryError> {
        let candidates = postings::rows_of_span(&mut self.db, reader.unsealed_blocks(), span)
            .await
            .map_err(query_error)?;
        let row = sqlx::query(
            "SELECT t.id, t.trace_id FROM ( \
               SELECT s.trace, s.start_time FROM json_each(?2) j CROSS JOIN span_row s ON s.id = j.value \
               WHERE s.span_id = ?1 \
               UNION ALL SELECT trace, start_time FROM span_open WHERE span_id = ?1) c \
             CROSS JOIN trace t ON t.id = c.trace WHERE t.expires > ?3 \
             ORDER BY c.start_time DESC, t.trace_id DESC LIMIT 1",
        )
        .bind(span_id_bits(span))
        .bind(json_list(candidates))
        .bind(self.now)
        .fetch_optional(&mut *self.db)
        .await
        .map_err(query_error)?;
        let Some(row) = row else { return Ok(None) };
        let read = || {
            let (number, trace_id): (i64, &[u8]) = read_row(&row)?;
            Ok((number, trace_id_of(trace_id)?))
        };
        read().map(Some).map_err(query_error)
    }
}

fn read_span(row: &SqliteRow, trace_id: TraceId, services: &Services) -> Result<Span, sqlx::Error> {
    let (columns, code): (SpanColumns<'_>, i64) = read_row(row)?;
    columns.into_span(trace_id, word(code)?, services)
}

impl Reader {
    /// Returns a span with its events.
    pub(super) async fn span(&self, key: SpanKey) -> Result<Option<Span>, QueryError> {
        let mut session = self.session().await?;
        let Some(trace) = session.number_of(key.trace_id).await? else { return Ok(None) };
        let Some(mut span) = session.span_without_events(trace, key).await? else { return Ok(None) };
        let logs = session.logs_of(trace, key).await?.into_iter();
        let points = session.points_of(trace, key).await?.into_iter();
        let mut events: Vec<(i64, SpanEvent)> = logs
            .map(|(id, log)| (id, SpanEvent::Log(Arc::new(log))))
            .chain(points.map(|(id, point)| (id, SpanEvent::Metric(Arc::new(point)))))
            .collect();
        events.sort_by_key(|(id, _)| *id);
        span.events = events.into_iter().map(|(_, event)| event).collect();
        Ok(Some(span))
    }

    /// Returns a span and the spans below it.
    pub(super) async fn tree(&self, query: TreeQuery) -> Result<Option<SpanTree>, QueryError> {
        let mut session = self.session().await?;
        let found = match query.trace_id {
            Some(trace_id) => session.number_of(trace_id).await?.map(|number| (number, trace_id)),
            None => session.trace_of(self, query.span_id).await?,
        };
        let Some((number, trace_id)) = found else { return Ok(None) };
        let spans = session.spans_of(number, trace_id).await?;
        Ok(tree_of(spans, query.span_id, query.max_depth))
    }

    /// Returns the spans of the traces that match, trace by trace, newest first.
    pub(super) fn spans(&self, query: SpanQuery) -> Pages<Span> {
        struct State {
            reader: Reader,
            query: SpanQuery,
            traces: Option<VecDeque<i64>>,
        }
        let state = State { reader: self.clone(), query, traces: None };
        Box::pin(stream::try_unfold(state, |mut state| async move {
            let reader = state.reader.clone();
            let read = async {
                let traces = match &mut state.traces {
                    Some(traces) => traces,
                    None => {
                        let all = TraceQuery {
                            filters: state.query.filters.clone(),
                            limit: None,
                            ..TraceQuery::default()
                        };
                        state.traces.insert(ordered_numbers(&reader, &all).await?.into())
                    }
                };
                let mut page: Vec<Span> = Vec::new();
                let mut bytes = 0;
                let mut session = reader.session().await?;
                while page.len() < PAGE
                    && bytes < PAGE_BYTES
                    && let Some(number) = traces.pop_front()
                {
                    let Some(trace_id) = session.trace_id_of(number).await? else { continue };
                    let spans = session.spans_of(number, trace_id).await?;
                    let asked = spans_from_root(spans, state.query.max_depth).into_iter();
                    page.extend(
                        asked
                            .filter_map(|span| with_attributes(span, &state.query.attributes))
                            .inspect(|span| bytes += span.retained_bytes()),
                    );
                }
                Ok(page)
            };
            let page = reader.within_timeout(read).await?;
            let is_last = page.is_empty() && state.traces.as_ref().is_some_and(VecDeque::is_empty);
            Ok(if is_last { None } else { Some((page, state)) })
        }))
    }
}
