//! Which traces have a span on which all filters hold.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};

use futures_util::TryStreamExt as _;
use sqlx::Row as _;
use telemetry_core::query::{OrderColumn, TraceQuery, matches_all};
use telemetry_core::{QueryError, SpanState};

use super::{Reader, Session};
use crate::error::query_error;
use crate::postings::{self, BLOCK};
use crate::rows::{SPAN_COLUMN_COUNT, read_span, trace_id_of, word};
use crate::statement::json_list;

/// A block of finished spans: see `postings`.
struct Block {
    id: i64,
    newest: i64,
    sealed: bool,
}

/// The numbers of the traces that match. Where the newest few are asked for, blocks of spans are
/// looked at newest first, and only as many as may still hold one of them.
pub(super) async fn matching(reader: &Reader, query: &TraceQuery) -> Result<HashSet<i64>, QueryError> {
    let mut session = reader.session().await?;
    let mut found = HashSet::new();
    session.match_open(query, reader, &mut found).await?;
    let newest_first = match query.order.as_slice() {
        [] => true,
        [order] => order.column == OrderColumn::StartTime && order.descending,
        _ => false,
    };
    let enough = query.limit.filter(|_| newest_first).map(|limit| limit.saturating_add(query.offset));
    let mut best = Newest::default();
    if enough.is_some() {
        best.add(session.starts(&found).await?);
    }
    for block in session.blocks().await? {
        if let Some(enough) = enough
            && best.has(enough, block.newest)
        {
            break;
        }
        let before = found.len();
        let mut fresh = HashSet::new();
        session.match_block(&block, query, reader, &mut fresh).await?;
        fresh.retain(|number| found.insert(*number));
        if enough.is_some() && found.len() > before {
            best.add(session.starts(&fresh).await?);
        }
    }
    Ok(found)
}

/// The starts of the traces found so far.
#[derive(Default)]
struct Newest(BTreeSet<Reverse<(i64, i64)>>);

impl Newest {
    fn add(&mut self, starts: Vec<(i64, i64)>) {
        self.0.extend(starts.into_iter().map(Reverse));
    }

    /// Whether `enough` traces are newer than anything in blocks up to `newest`.
    fn has(&self, enough: u64, newest: i64) -> bool {
        let last =
            usize::try_from(enough).ok().and_then(|enough| self.0.iter().nth(enough.saturating_sub(1)));
        last.is_some_and(|Reverse((start, _))| *start > newest)
    }
}

impl Session {
    /// All blocks, those with the newest spans first.
    async fn blocks(&mut self) -> Result<Vec<Block>, QueryError> {
        let rows = sqlx::query("SELECT id, newest, sealed FROM block ORDER BY newest DESC")
            .fetch_all(&mut *self.db)
            .await
            .map_err(query_error)?;
        let read = |row: &sqlx::sqlite::SqliteRow| -> Result<Block, sqlx::Error> {
            Ok(Block {
                id: row.try_get_unchecked(0)?,
                newest: row.try_get_unchecked(1)?,
                sealed: row.try_get_unchecked(2)?,
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(query_error)
    }

    /// Start and number of traces.
    async fn starts(&mut self, numbers: &HashSet<i64>) -> Result<Vec<(i64, i64)>, QueryError> {
        let rows = sqlx::query(
            "SELECT start_time, id FROM trace WHERE id IN (SELECT value FROM json_each(?1)) AND start_time IS NOT NULL",
        )
        .bind(json_list(numbers.iter().copied()))
        .fetch_all(&mut *self.db)
        .await
        .map_err(query_error)?;
        let read = |row: &sqlx::sqlite::SqliteRow| Ok((row.try_get_unchecked(0)?, row.try_get_unchecked(1)?));
        rows.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(query_error)
    }

    /// Looks at the spans that are not whole.
    async fn match_open(
        &mut self,
        query: &TraceQuery,
        reader: &Reader,
        found: &mut HashSet<i64>,
    ) -> Result<(), QueryError> {
        let Self { db, services, now, .. } = self;
        let mut rows = sqlx::query(
            "SELECT t.id, t.trace_id, s.span_id, s.parent, s.name, s.kind, s.service, s.start_time, s.end_time, \
             s.status, s.attributes, s.lag, s.ttl, s.extra, s.state \
             FROM span_open s JOIN trace t ON t.id = s.trace WHERE t.expires > ?1",
        )
        .bind(*now)
        .fetch(&mut **db);
        while let Some(row) = rows.try_next().await.map_err(query_error)? {
            let read = || -> Result<_, sqlx::Error> {
                let trace_id = trace_id_of(row.try_get_unchecked(1)?)?;
                let state: SpanState = word(row.try_get_unchecked(2 + SPAN_COLUMN_COUNT)?)?;
                Ok((row.try_get_unchecked(0)?, read_span(&row, 2, trace_id, state, services)?))
            };
            let (number, span) = read().map_err(query_error)?;
            if matches_all(&query.filters, &span, &reader.0.service_name) {
                found.insert(number);
            }
        }
        Ok(())
    }

    /// Looks at the spans of a block: those its postings point at, or all.
    async fn match_block(
        &mut self,
        block: &Block,
        query: &TraceQuery,
        reader: &Reader,
        found: &mut HashSet<i64>,
    ) -> Result<(), QueryError> {
        let candidates = if block.sealed {
            postings::candidates(&mut self.db, block.id, &query.filters).await.map_err(query_error)?
        } else {
            None
        };
        let (sql, named) = match &candidates {
            Some(ids) if ids.is_empty() => return Ok(()),
            Some(ids) => (BY_ID, Some(json_list(ids.iter().copied()))),
            None => (BY_BLOCK, None),
        };
        let Self { db, services, now, .. } = self;
        let first = block.id * BLOCK;
        let mut rows =
            sqlx::query(sql).bind(*now).bind(named).bind(first).bind(first + BLOCK - 1).fetch(&mut **db);
        while let Some(row) = rows.try_next().await.map_err(query_error)? {
            let number: i64 = row.try_get_unchecked(0).map_err(query_error)?;
            if found.contains(&number) {
                continue;
            }
            let read = || -> Result<_, sqlx::Error> {
                read_span(&row, 2, trace_id_of(row.try_get_unchecked(1)?)?, SpanState::Ended, services)
            };
            if matches_all(&query.filters, &read().map_err(query_error)?, &reader.0.service_name) {
                found.insert(number);
            }
        }
        Ok(())
    }
}

const BY_BLOCK: &str = "SELECT t.id, t.trace_id, s.span_id, s.parent, s.name, s.kind, s.service, s.start_time, \
    s.end_time, s.status, s.attributes, s.lag, s.ttl, s.extra \
    FROM span_row s CROSS JOIN trace t ON t.id = s.trace \
    WHERE s.id BETWEEN ?3 AND ?4 AND t.expires > ?1 AND ?2 IS NULL";

const BY_ID: &str = "SELECT t.id, t.trace_id, s.span_id, s.parent, s.name, s.kind, s.service, s.start_time, \
    s.end_time, s.status, s.attributes, s.lag, s.ttl, s.extra \
    FROM json_each(?2) j CROSS JOIN span_row s ON s.id = j.value CROSS JOIN trace t ON t.id = s.trace \
    WHERE s.id BETWEEN ?3 AND ?4 AND t.expires > ?1";
