//! Spans: one, those of a trace, a tree.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::{TryStreamExt as _, stream};
use sqlx::Row as _;
use telemetry_core::query::{
    SpanQuery, SpanTree, TraceQuery, TreeQuery, spans_from_root, tree_of, with_attributes,
};
use telemetry_core::{Pages, QueryError, Span, SpanEvent, SpanId, SpanKey, SpanState, TraceId};

use super::order::ordered_numbers;
use super::{Reader, Session};
use crate::error::query_error;
use crate::postings;
use crate::rows::{SPAN_COLUMN_COUNT, read_span, span_id_bits, trace_id_of, word};

/// Spans per page of an answer, at most but for those of one trace.
const PAGE: usize = 1_000;
/// Bytes of attributes per page, as nearly.
const PAGE_BYTES: usize = 256 << 10;

const OF_TRACE: &str = "SELECT span_id, parent, name, kind, service, start_time, end_time, status, attributes, lag, \
    ttl, extra, ?2 AS state FROM span_row WHERE trace = ?1 \
    UNION ALL \
    SELECT span_id, parent, name, kind, service, start_time, end_time, status, attributes, lag, ttl, extra, state \
    FROM span_open WHERE trace = ?1";

const ONE: &str = "SELECT span_id, parent, name, kind, service, start_time, end_time, status, attributes, lag, \
    ttl, extra, ?2 AS state FROM span_row WHERE trace = ?1 AND span_id = ?3 \
    UNION ALL \
    SELECT span_id, parent, name, kind, service, start_time, end_time, status, attributes, lag, ttl, extra, state \
    FROM span_open WHERE trace = ?1 AND span_id = ?3";

impl Session {
    /// All spans of a trace, without their events.
    pub(super) async fn spans_of(&mut self, trace: i64, trace_id: TraceId) -> Result<Vec<Span>, QueryError> {
        use crate::codes::Code as _;
        let Self { db, services, .. } = self;
        let mut rows = sqlx::query(OF_TRACE).bind(trace).bind(SpanState::Ended.code()).fetch(&mut **db);
        let mut spans = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(query_error)? {
            let state = row.try_get_unchecked(SPAN_COLUMN_COUNT).and_then(word).map_err(query_error)?;
            spans.push(read_span(&row, 0, trace_id, state, services).map_err(query_error)?);
        }
        Ok(spans)
    }

    async fn span(&mut self, trace: i64, key: SpanKey) -> Result<Option<Span>, QueryError> {
        use crate::codes::Code as _;
        let row = sqlx::query(ONE)
            .bind(trace)
            .bind(SpanState::Ended.code())
            .bind(span_id_bits(key.span_id))
            .fetch_optional(&mut *self.db)
            .await
            .map_err(query_error)?;
        let Some(row) = row else { return Ok(None) };
        let state = row.try_get_unchecked(SPAN_COLUMN_COUNT).and_then(word).map_err(query_error)?;
        read_span(&row, 0, key.trace_id, state, &self.services).map(Some).map_err(query_error)
    }

    /// The trace in which a span of this id started last.
    async fn trace_of(
        &mut self,
        reader: &Reader,
        span: SpanId,
    ) -> Result<Option<(i64, TraceId)>, QueryError> {
        let candidates =
            postings::rows_of(&mut self.db, &reader.0.open_blocks, span).await.map_err(query_error)?;
        let row = sqlx::query(
            "SELECT t.id, t.trace_id FROM ( \
               SELECT s.trace, s.start_time FROM json_each(?2) j CROSS JOIN span_row s ON s.id = j.value \
               WHERE s.span_id = ?1 \
               UNION ALL SELECT trace, start_time FROM span_open WHERE span_id = ?1) c \
             CROSS JOIN trace t ON t.id = c.trace WHERE t.expires > ?3 \
             ORDER BY c.start_time DESC, t.trace_id DESC LIMIT 1",
        )
        .bind(span_id_bits(span))
        .bind(crate::statement::json_list(candidates))
        .bind(self.now)
        .fetch_optional(&mut *self.db)
        .await
        .map_err(query_error)?;
        let Some(row) = row else { return Ok(None) };
        let read = || Ok((row.try_get_unchecked(0)?, trace_id_of(row.try_get_unchecked(1)?)?));
        read().map(Some).map_err(query_error)
    }
}

impl Reader {
    pub(super) async fn get_one(&self, key: SpanKey) -> Result<Option<Span>, QueryError> {
        let mut session = self.session().await?;
        let Some(trace) = session.number_of(key.trace_id).await? else { return Ok(None) };
        let Some(mut span) = session.span(trace, key).await? else { return Ok(None) };
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

    /// Spans of the traces that match, trace by trace, newest first.
    pub(super) fn spans(&self, query: SpanQuery) -> Pages<Span> {
        struct State {
            reader: Reader,
            query: SpanQuery,
            traces: Option<VecDeque<i64>>,
        }
        let state = State { reader: self.clone(), query, traces: None };
        Box::pin(stream::try_unfold(state, |mut state| async move {
            let reader = state.reader.clone();
            let step = async {
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
                    let Some(trace_id) = session.visible(number).await? else { continue };
                    let spans = session.spans_of(number, trace_id).await?;
                    let asked = spans_from_root(spans, state.query.max_depth).into_iter();
                    page.extend(
                        asked
                            .filter_map(|span| with_attributes(span, &state.query.attributes))
                            .inspect(|span| bytes += span.attributes.payload_bytes()),
                    );
                }
                Ok(page)
            };
            let page = reader.within(step).await?;
            let is_last = page.is_empty() && state.traces.as_ref().is_some_and(VecDeque::is_empty);
            Ok(if is_last { None } else { Some((page, state)) })
        }))
    }
}

impl Session {
    /// The id of a trace that has not expired meanwhile.
    async fn visible(&mut self, trace: i64) -> Result<Option<TraceId>, QueryError> {
        let row = sqlx::query("SELECT trace_id FROM trace WHERE id = ?1 AND expires > ?2")
            .bind(trace)
            .bind(self.now)
            .fetch_optional(&mut *self.db)
            .await
            .map_err(query_error)?;
        row.map(|row| trace_id_of(row.try_get_unchecked(0)?)).transpose().map_err(query_error)
    }
}
