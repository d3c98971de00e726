//! The numbers of the traces of a query, in its order.

use std::collections::HashSet;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Row as _};
use telemetry_core::QueryError;
use telemetry_core::query::{Order, OrderColumn, TraceQuery};

use super::Reader;
use super::matching::matching;
use crate::error::query_error;
use crate::statement::json_list;

/// Up to this many matching traces are named to SQLite; more are picked out of all.
const NAMED: usize = 20_000;

/// A column of the root of traces in which every known span has a parent, as
/// `telemetry_core::query::root_of` finds it.
macro_rules! of_root {
    ($column:literal) => {
        concat!(
            "(SELECT r.", $column, " FROM (SELECT c.*, \
               EXISTS (SELECT 1 FROM span_row p WHERE p.trace = c.trace AND p.span_id = c.parent) \
               OR EXISTS (SELECT 1 FROM span_open p WHERE p.trace = c.trace AND p.span_id = c.parent) AS known FROM ( \
                 SELECT trace, span_id, parent, start_time, service FROM span_row WHERE trace = t.id UNION ALL \
                 SELECT trace, span_id, parent, start_time, service FROM span_open WHERE trace = t.id) c) r \
             ORDER BY r.known, r.start_time, r.span_id < 0, r.span_id LIMIT 1)"
        )
    };
}

const ROOT: &str = concat!("coalesce(t.root, ", of_root!("span_id"), ")");
const SERVICE: &str =
    concat!("(SELECT v.name FROM service v WHERE v.id = coalesce(t.service, ", of_root!("service"), "))");

/// `ORDER BY` of constants only: the column is an enum. Nulls come last either way; ties as by default.
fn order_by(order: &[Order]) -> String {
    let mut keys = Vec::new();
    for Order { column, descending } in order {
        let direction = if *descending { "DESC" } else { "ASC" };
        match column {
            OrderColumn::StartTime => keys.push(format!("t.start_time {direction}")),
            OrderColumn::EndTime => keys.push(format!("t.end_time IS NULL, t.end_time {direction}")),
            OrderColumn::TraceId => keys.push(format!("t.trace_id {direction}")),
            // Ids are unsigned: those that read as negative are the larger ones.
            OrderColumn::RootSpanId => keys.push(format!("{ROOT} < 0 {direction}, {ROOT} {direction}")),
            OrderColumn::ServiceName => keys.push(format!("{SERVICE} {direction}")),
            // Never negative, as in `Timestamp::since`.
            OrderColumn::DurationMs => {
                keys.push(format!("t.end_time IS NULL, max(t.end_time - t.start_time, 0) {direction}"));
            }
        }
    }
    keys.push("t.start_time DESC, t.trace_id DESC".to_owned());
    keys.join(", ")
}

/// The numbers, without the first `offset`, at most `limit`: eight bytes per trace.
pub(super) async fn ordered_numbers(reader: &Reader, query: &TraceQuery) -> Result<Vec<i64>, QueryError> {
    let matches: Option<HashSet<i64>> =
        if query.filters.is_empty() { None } else { Some(matching(reader, query).await?) };
    let named = match &matches {
        Some(numbers) if numbers.is_empty() => return Ok(Vec::new()),
        Some(numbers) if numbers.len() <= NAMED => Some(json_list(numbers.iter().copied())),
        Some(_) | None => None,
    };
    let among =
        if named.is_some() { "t.id IN (SELECT value FROM json_each(?2)) AND" } else { "?2 IS NULL AND" };
    let sql = format!(
        "SELECT t.id FROM trace t WHERE {among} t.expires > ?1 AND t.start_time IS NOT NULL ORDER BY {}",
        order_by(&query.order)
    );
    let mut session = reader.session().await?;
    let mut rows = sqlx::query(AssertSqlSafe(sql)).bind(session.now).bind(named).fetch(&mut *session.db);
    let offset = usize::try_from(query.offset).unwrap_or(usize::MAX);
    let limit = query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut skipped = 0;
    let mut numbers = Vec::new();
    while numbers.len() < limit
        && let Some(row) = rows.try_next().await.map_err(query_error)?
    {
        let number: i64 = row.try_get_unchecked(0).map_err(query_error)?;
        if matches.as_ref().is_some_and(|matches| !matches.contains(&number)) {
            continue;
        }
        if skipped < offset {
            skipped += 1;
            continue;
        }
        numbers.push(number);
    }
    Ok(numbers)
}
