//! Which traces have a span on which all filters hold.

use std::collections::{BTreeSet, HashSet};

use futures_util::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use telemetry_core::query::{Filter, OrderColumn, TraceQuery, matches_all};
use telemetry_core::{QueryError, Span, SpanId, SpanKey, SpanState, Timestamp, TraceId};

use super::{Reader, Session};
use crate::error::query_error;
use crate::postings::{self, Block, Narrowed, Probe, Seal};
use crate::rows::{SPAN_COLUMN_COUNT, attributes_of, read_span, trace_id_of, word};
use crate::services::Services;
use crate::statement::json_list;

/// Blocks narrowed down in one step, at first and at most: four times as many each time.
const BLOCKS: (usize, usize) = (1, 64);
/// Spans read per step where the newest few traces are wanted, and where all are.
const SPANS: [usize; 2] = [256, 4_096];

/// Keys that a span has without an attribute of that name.
const BUILT_IN: [&str; 7] = ["name", "status", "kind", "service_name", "duration_ms", "span_id", "trace_id"];

/// The numbers of the traces that match. Where the newest few are asked for, spans are looked at newest
/// first, and only as many as may still be in one of them.
pub(super) async fn matching(reader: &Reader, query: &TraceQuery) -> Result<HashSet<i64>, QueryError> {
    let mut session = reader.session().await?;
    let newest_first = match query.order.as_slice() {
        [] => true,
        [order] => order.column == OrderColumn::StartTime && order.descending,
        _ => false,
    };
    let enough = query.limit.filter(|_| newest_first).map(|limit| limit.saturating_add(query.offset));
    let mut found = Found::new(enough);
    session.match_open(query, reader, &mut found).await?;
    let probes: Vec<Probe> = query.filters.iter().filter_map(Probe::of).collect();
    let per_step = SPANS[usize::from(enough.is_none())];
    let blocks = session.blocks().await?;
    let (mut rest, mut size) = (blocks.as_slice(), BLOCKS.0);
    while let Some(first) = rest.first()
        && !found.has_all_since(first.newest)
    {
        let (some, after) = rest.split_at(size.min(rest.len()));
        let narrowed = postings::narrow(&mut session.db, &reader.0.open_blocks, some, &probes);
        let mut portions = portions(narrowed.await.map_err(query_error)?, enough.is_some());
        portions.sort_by_key(|portion| std::cmp::Reverse(portion.newest));
        let mut portions = portions.into_iter().peekable();
        while let Some(Portion { newest, mut ids }) = portions.next()
            && !found.has_all_since(newest)
        {
            while ids.len() < per_step
                && let Some(next) = portions.next()
            {
                ids.extend(next.ids);
            }
            for ids in ids.chunks(SPANS[1]) {
                session.match_spans(ids, query, reader, &mut found).await?;
            }
        }
        (rest, size) = (after, (size * 4).min(BLOCKS.1));
    }
    Ok(found.numbers)
}

/// Spans that may match, and the latest start among them.
struct Portion {
    newest: i64,
    ids: Vec<i64>,
}

/// What narrowed blocks leave to be read: in portions where the newest are wanted and known.
fn portions(blocks: Vec<Narrowed>, newest: bool) -> Vec<Portion> {
    let mut portions = Vec::with_capacity(blocks.len());
    for Narrowed { block, slots, starts } in blocks {
        let starts = starts.filter(|_| newest);
        let mut last = None;
        for (place, id) in slots.ids(block.id) {
            let place = starts.as_ref().map(|_| place);
            if last != Some(place) {
                last = Some(place);
                let start = starts.as_ref().zip(place).and_then(|(starts, place)| starts.get(place));
                portions.push(Portion { newest: start.copied().unwrap_or(block.newest), ids: Vec::new() });
            }
            if let Some(portion) = portions.last_mut() {
                portion.ids.push(id);
            }
        }
    }
    portions
}

/// The traces found so far.
struct Found {
    numbers: HashSet<i64>,
    /// How many are wanted, if the newest are.
    enough: Option<usize>,
    /// Starts and numbers of so many of the newest.
    newest: BTreeSet<(i64, i64)>,
}

impl Found {
    fn new(enough: Option<u64>) -> Self {
        let enough = enough.map(|enough| usize::try_from(enough).unwrap_or(usize::MAX));
        Self { numbers: HashSet::new(), enough, newest: BTreeSet::new() }
    }

    fn add(&mut self, number: i64, start: i64) {
        if self.numbers.insert(number)
            && let Some(enough) = self.enough
        {
            self.newest.insert((start, number));
            if self.newest.len() > enough {
                self.newest.pop_first();
            }
        }
    }

    /// Whether all that are wanted are newer than anything up to `newest`.
    fn has_all_since(&self, newest: i64) -> bool {
        self.enough.is_some_and(|enough| {
            self.newest.len() >= enough && self.newest.first().is_none_or(|(start, _)| *start > newest)
        })
    }
}

impl Session {
    /// All blocks, those with the newest spans first.
    async fn blocks(&mut self) -> Result<Vec<Block>, QueryError> {
        let rows = sqlx::query("SELECT id, newest, sealed FROM block ORDER BY newest DESC")
            .fetch_all(&mut *self.db)
            .await
            .map_err(query_error)?;
        let read = |row: &SqliteRow| -> Result<Block, sqlx::Error> {
            Ok(Block {
                id: row.try_get_unchecked(0)?,
                newest: row.try_get_unchecked(1)?,
                seal: Seal::from_code(row.try_get_unchecked(2)?),
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(query_error)
    }

    /// Looks at the spans that are not whole.
    async fn match_open(
        &mut self,
        query: &TraceQuery,
        reader: &Reader,
        found: &mut Found,
    ) -> Result<(), QueryError> {
        let Self { db, services, now, .. } = self;
        let mut rows = sqlx::query(
            "SELECT t.id, t.start_time, t.trace_id, s.span_id, s.parent, s.name, s.kind, s.service, s.start_time, \
             s.end_time, s.status, s.attributes, s.lag, s.ttl, s.extra, s.state \
             FROM span_open s JOIN trace t ON t.id = s.trace WHERE t.expires > ?1",
        )
        .bind(*now)
        .fetch(&mut **db);
        while let Some(row) = rows.try_next().await.map_err(query_error)? {
            let read = || -> Result<_, sqlx::Error> {
                let state: SpanState = word(row.try_get_unchecked(3 + SPAN_COLUMN_COUNT)?)?;
                read_whole(&row, state, services)
            };
            if matches_all(&query.filters, &read().map_err(query_error)?, &reader.0.service_name) {
                add(&row, found).map_err(query_error)?;
            }
        }
        Ok(())
    }

    /// Looks at finished spans.
    async fn match_spans(
        &mut self,
        ids: &[i64],
        query: &TraceQuery,
        reader: &Reader,
        found: &mut Found,
    ) -> Result<(), QueryError> {
        let whole = query.filters.iter().any(|Filter { key, .. }| BUILT_IN.contains(&key.as_str()));
        let Self { db, services, now, .. } = self;
        let sql = if whole { WHOLE } else { ATTRIBUTES };
        let mut rows = sqlx::query(sql).bind(*now).bind(json_list(ids.iter().copied())).fetch(&mut **db);
        while let Some(row) = rows.try_next().await.map_err(query_error)? {
            let number: i64 = row.try_get_unchecked(0).map_err(query_error)?;
            if found.numbers.contains(&number) {
                continue;
            }
            let span =
                if whole { read_whole(&row, SpanState::Ended, services) } else { read_attributes(&row) };
            if matches_all(&query.filters, &span.map_err(query_error)?, &reader.0.service_name) {
                add(&row, found).map_err(query_error)?;
            }
        }
        Ok(())
    }
}

/// Adds the trace of a row, if it has a start.
fn add(row: &SqliteRow, found: &mut Found) -> Result<(), sqlx::Error> {
    if let Some(start) = row.try_get_unchecked::<Option<i64>, _>(1)? {
        found.add(row.try_get_unchecked(0)?, start);
    }
    Ok(())
}

fn read_whole(row: &SqliteRow, state: SpanState, services: &Services) -> Result<Span, sqlx::Error> {
    read_span(row, 3, trace_id_of(row.try_get_unchecked(2)?)?, state, services)
}

/// A span of which only the attributes matter.
fn read_attributes(row: &SqliteRow) -> Result<Span, sqlx::Error> {
    const SOME: SpanKey = SpanKey::new(
        TraceId::from_u128(1).expect("1 is not zero"),
        SpanId::from_u64(1).expect("1 is not zero"),
    );
    let attributes = attributes_of(row.try_get_unchecked(2)?)?;
    Ok(Span { attributes, ..Span::open(SOME, "", Timestamp::from_nanos(0)) })
}

const WHOLE: &str = "SELECT t.id, t.start_time, t.trace_id, s.span_id, s.parent, s.name, s.kind, s.service, \
    s.start_time, s.end_time, s.status, s.attributes, s.lag, s.ttl, s.extra \
    FROM json_each(?2) j CROSS JOIN span_row s ON s.id = j.value CROSS JOIN trace t ON t.id = s.trace \
    WHERE t.expires > ?1";

const ATTRIBUTES: &str = "SELECT t.id, t.start_time, s.attributes \
    FROM json_each(?2) j CROSS JOIN span_row s ON s.id = j.value CROSS JOIN trace t ON t.id = s.trace \
    WHERE t.expires > ?1";
