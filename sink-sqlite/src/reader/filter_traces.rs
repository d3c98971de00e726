//! Finds the traces that have a span which all filters match.

use std::collections::{BTreeSet, HashSet};
use std::sync::LazyLock;

use futures_util::TryStreamExt as _;
use telemetry_core::query::{Filter, OrderColumn, TraceQuery, matches_all};
use telemetry_core::{QueryError, Span, SpanId, SpanKey, SpanState, Timestamp, TraceId};

use super::session::{Reader, Session};
use crate::bulk_statement::json_list;
use crate::error::query_error;
use crate::postings::{self, Block, Candidates, Condition, Seal};
use crate::rows::{
    ColumnReader, SpanColumns, attributes_of, read_row, select_list, selected_columns, trace_id_of, word,
};

/// Blocks whose index is read in one step, at first and at most. Each step reads four times as many as the one before.
const BLOCKS: (usize, usize) = (1, 64);
/// Spans read per step if the newest few traces are wanted, and if all are.
const SPANS: [usize; 2] = [256, 4_096];

/// Keys that a span has without an attribute of that name.
const BUILT_IN: [&str; 7] = ["name", "status", "kind", "service_name", "duration_ms", "span_id", "trace_id"];

/// Returns the numbers of the traces that match. If the newest few are wanted, reads spans newest first, and only those
/// that may belong to one of them.
pub(super) async fn matching_traces(reader: &Reader, query: &TraceQuery) -> Result<HashSet<i64>, QueryError> {
    let mut session = reader.session().await?;
    let newest_first = match query.order.as_slice() {
        [] => true,
        [order] => order.column == OrderColumn::StartTime && order.descending,
        _ => false,
    };
    let wanted = query.limit.filter(|_| newest_first).map(|limit| limit.saturating_add(query.offset));
    let mut found = Found::new(wanted);
    session.match_incomplete_spans(query, reader, &mut found).await?;
    let conditions: Vec<Condition> = query.filters.iter().filter_map(Condition::of).collect();
    let per_step = SPANS[usize::from(wanted.is_none())];
    let blocks = session.blocks().await?;
    let (mut rest, mut size) = (blocks.as_slice(), BLOCKS.0);
    while let Some(first) = rest.first()
        && !found.is_complete_since(first.newest)
    {
        let (some, after) = rest.split_at(size.min(rest.len()));
        let candidates = postings::candidates(&mut session.db, reader.unsealed_blocks(), some, &conditions);
        let mut portions = portions(candidates.await.map_err(query_error)?, wanted.is_some());
        portions.sort_by_key(|portion| std::cmp::Reverse(portion.newest));
        let mut portions = portions.into_iter().peekable();
        while let Some(Portion { newest, mut ids }) = portions.next()
            && !found.is_complete_since(newest)
        {
            while ids.len() < per_step
                && let Some(next) = portions.next()
            {
                ids.extend(next.ids);
            }
            for ids in ids.chunks(SPANS[1]) {
                session.match_finished_spans(ids, query, reader, &mut found).await?;
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

/// Splits the candidates of blocks into what is read together. With `newest_first`, this is a portion of a block where
/// the latest start of each portion is known, else a block.
fn portions(blocks: Vec<Candidates>, newest_first: bool) -> Vec<Portion> {
    let mut portions = Vec::with_capacity(blocks.len());
    for Candidates { block, slots, starts } in blocks {
        let starts = starts.filter(|_| newest_first);
        let mut last = None;
        for (index, id) in slots.ids(block.id) {
            let index = starts.as_ref().map(|_| index);
            if last != Some(index) {
                last = Some(index);
                let start = starts.as_ref().zip(index).and_then(|(starts, index)| starts.get(index));
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
    wanted: Option<usize>,
    /// Starts and numbers of the newest, as many as are wanted.
    newest: BTreeSet<(i64, i64)>,
}

impl Found {
    fn new(wanted: Option<u64>) -> Self {
        let wanted = wanted.map(|wanted| usize::try_from(wanted).unwrap_or(usize::MAX));
        Self { numbers: HashSet::new(), wanted, newest: BTreeSet::new() }
    }

    /// Adds a trace, if it has a start.
    fn add(&mut self, number: i64, start: Option<i64>) {
        if let Some(start) = start
            && self.numbers.insert(number)
            && let Some(wanted) = self.wanted
        {
            self.newest.insert((start, number));
            if self.newest.len() > wanted {
                self.newest.pop_first();
            }
        }
    }

    /// Returns true if all traces that are wanted are found, and started after `newest`.
    fn is_complete_since(&self, newest: i64) -> bool {
        self.wanted.is_some_and(|wanted| {
            self.newest.len() >= wanted && self.newest.first().is_none_or(|(start, _)| *start > newest)
        })
    }
}

selected_columns! {
    struct BlockRow {
        id: i64 = "id",
        newest: i64 = "newest",
        sealed: i64 = "sealed",
    }
    const NEWEST_FIRST = "FROM block ORDER BY newest DESC";
}

impl Session {
    /// Returns all blocks, those with the newest spans first.
    async fn blocks(&mut self) -> Result<Vec<Block>, QueryError> {
        let rows = sqlx::query(BlockRow::NEWEST_FIRST).fetch_all(&mut *self.db).await.map_err(query_error)?;
        let read = |row| {
            let BlockRow { id, newest, sealed } = read_row(row)?;
            Ok(Block { id, newest, seal: Seal::from_code(sealed) })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(query_error)
    }

    /// Adds the traces of incomplete spans that match.
    async fn match_incomplete_spans(
        &mut self,
        query: &TraceQuery,
        reader: &Reader,
        found: &mut Found,
    ) -> Result<(), QueryError> {
        static OPEN: LazyLock<String> = LazyLock::new(|| {
            format!(
                "SELECT t.id, t.start_time, t.trace_id, {}, s.state \
                 FROM span_open s JOIN trace t ON t.id = s.trace WHERE t.expires > ?1",
                select_list::<SpanColumns<'_>>("s")
            )
        });
        let Self { db, services, now, .. } = self;
        let mut rows = sqlx::query(OPEN.as_str()).bind(*now).fetch(&mut **db);
        while let Some(row) = rows.try_next().await.map_err(query_error)? {
            let read = || {
                let mut columns = ColumnReader::new(&row);
                let (number, start): (i64, Option<i64>) = columns.read()?;
                let (trace_id, span, code): (&[u8], SpanColumns<'_>, i64) = columns.read()?;
                Ok((number, start, span.into_span(trace_id_of(trace_id)?, word(code)?, services)?))
            };
            let (number, start, span) = read().map_err(query_error)?;
            if matches_all(&query.filters, &span, reader.service_name()) {
                found.add(number, start);
            }
        }
        Ok(())
    }

    /// Adds the traces of those of some finished spans that match.
    async fn match_finished_spans(
        &mut self,
        ids: &[i64],
        query: &TraceQuery,
        reader: &Reader,
        found: &mut Found,
    ) -> Result<(), QueryError> {
        static WHOLE_SPANS: LazyLock<String> = LazyLock::new(|| {
            format!(
                "SELECT t.id, t.start_time, t.trace_id, {} FROM json_each(?2) j \
                 CROSS JOIN span_row s ON s.id = j.value CROSS JOIN trace t ON t.id = s.trace WHERE t.expires > ?1",
                select_list::<SpanColumns<'_>>("s")
            )
        });
        const ATTRIBUTES: &str = "SELECT t.id, t.start_time, s.attributes FROM json_each(?2) j \
            CROSS JOIN span_row s ON s.id = j.value CROSS JOIN trace t ON t.id = s.trace WHERE t.expires > ?1";
        let needs_whole = query.filters.iter().any(|Filter { key, .. }| BUILT_IN.contains(&key.as_str()));
        let sql = if needs_whole { WHOLE_SPANS.as_str() } else { ATTRIBUTES };
        let Self { db, services, now, .. } = self;
        let mut rows = sqlx::query(sql).bind(*now).bind(json_list(ids.iter().copied())).fetch(&mut **db);
        while let Some(row) = rows.try_next().await.map_err(query_error)? {
            let mut columns = ColumnReader::new(&row);
            let (number, start): (i64, Option<i64>) = columns.read().map_err(query_error)?;
            if found.numbers.contains(&number) {
                continue;
            }
            let mut read = || {
                if !needs_whole {
                    return read_attributes(&mut columns);
                }
                let (trace_id, span): (&[u8], SpanColumns<'_>) = columns.read()?;
                span.into_span(trace_id_of(trace_id)?, SpanState::Ended, services)
            };
            if matches_all(&query.filters, &read().map_err(query_error)?, reader.service_name()) {
                found.add(number, start);
            }
        }
        Ok(())
    }
}

/// Reads a span of which only the attributes matter.
fn read_attributes(columns: &mut ColumnReader<'_>) -> Result<Span, sqlx::Error> {
    const ANY_SPAN: SpanKey = SpanKey::new(
        TraceId::from_u128(1).expect("1 is not zero"),
        SpanId::from_u64(1).expect("1 is not zero"),
    );
    let attributes: std::borrow::Cow<'_, str> = columns.read()?;
    let attributes = attributes_of(&attributes)?;
    Ok(Span { attributes, ..Span::open(ANY_SPAN, "", Timestamp::from_nanos(0)) })
}
