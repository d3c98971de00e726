//! Puts the traces of a query in its order.

use std::collections::HashSet;

use futures_util::TryStreamExt as _;
use sqlx::AssertSqlSafe;
use telemetry_core::QueryError;
use telemetry_core::query::{Order, OrderColumn, TraceQuery};

use super::filter_traces::matching_traces;
use super::session::Reader;
use crate::bulk_statement::json_list;
use crate::error::query_error;
use crate::rows::read_row;

/// Up to this many matching traces are a parameter of the statement. More are picked out of all traces.
const LISTED: usize = 20_000;

/// A column of the root of a trace in which every span has a parent: the same root that
/// `telemetry_core::query::root_of` finds.
macro_rules! of_root {
    ($column:literal) => {
        concat!(
            "(SELECT r.", $column, " FROM (SELECT c.*, \
               EXISTS (SELECT 1 FROM span_row p WHERE p.trace = c.trace AND p.span_id = c.parent) \
               OR EXISTS (SELECT 1 FROM span_open p WHERE p.trace = c.trace AND p.span_id = c.parent) AS has_parent FROM ( \
                 SELECT trace, span_id, parent, start_time, service FROM span_row WHERE trace = t.id UNION ALL \
                 SELECT trace, span_id, parent, start_time, service FROM span_open WHERE trace = t.id) c) r \
             ORDER BY r.has_parent, r.start_time, r.span_id < 0, r.span_id LIMIT 1)"
        )
    };
}

const ROOT: &str = concat!("coalesce(t.root, ", of_root!("span_id"), ")");
const SERVICE: &str =
    concat!("(SELECT v.name FROM service v WHERE v.id = coalesce(t.service, ", of_root!("service"), "))");

/// Returns an `ORDER BY` made of constants only. Nulls come last in both directions. Ties are in the default order.
fn order_by(order: &[Order]) -> String {
    let mut keys = Vec::new();
    for Order { column, descending } in order {
        let direction = if *descending { "DESC" } else { "ASC" };
        match column {
            OrderColumn::StartTime => keys.push(format!("t.start_time {direction}")),
            OrderColumn::EndTime => keys.push(format!("t.end_time IS NULL, t.end_time {direction}")),
            OrderColumn::TraceId => keys.push(format!("t.trace_id {direction}")),
            // Ids are unsigned: those that are stored as negative numbers are the larger ones.
            OrderColumn::RootSpanId => keys.push(format!("{ROOT} < 0 {direction}, {ROOT} {direction}")),
            OrderColumn::ServiceName => keys.push(format!("{SERVICE} {direction}")),
            // Never negative, like `Timestamp::since`.
            OrderColumn::DurationMs => {
                keys.push(format!("t.end_time IS NULL, max(t.end_time - t.start_time, 0) {direction}"));
            }
        }
    }
    keys.push("t.start_time DESC, t.trace_id DESC".to_owned());
    keys.join(", ")
}

/// Returns the numbers of the query's traces, without the first `offset` and at most `limit`: eight bytes per trace.
pub(super) async fn ordered_numbers(reader: &Reader, query: &TraceQuery) -> Result<Vec<i64>, QueryError> {
    let matches: Option<HashSet<i64>> =
        if query.filters.is_empty() { None } else { Some(matching_traces(reader, query).await?) };
    let listed = match &matches {
        Some(numbers) if numbers.is_empty() => return Ok(Vec::new()),
        Some(numbers) if numbers.len() <= LISTED => Some(json_list(numbers.iter().copied())),
        Some(_) | None => None,
    };
    let among =
        if listed.is_some() { "t.id IN (SELECT value FROM json_each(?2)) AND" } else { "?2 IS NULL AND" };
    let sql = format!(
        "SELECT t.id FROM trace t WHERE {among} t.expires > ?1 AND t.start_time IS NOT NULL ORDER BY {}",
        order_by(&query.order)
    );
    let mut session = reader.session().await?;
    let mut rows = sqlx::query(AssertSqlSafe(sql)).bind(session.now).bind(listed).fetch(&mut *session.db);
    let offset = usize::try_from(query.offset).unwrap_or(usize::MAX);
    let limit = query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut skipped = 0;
    let mut numbers = Vec::new();
    while numbers.len() < limit
        && let Some(row) = rows.try_next().await.map_err(query_error)?
    {
        let number: i64 = read_row(&row).map_err(query_error)?;
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
