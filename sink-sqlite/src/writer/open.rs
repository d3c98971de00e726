//! Spans of which one half is known, and ends that wait.

use std::collections::HashSet;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use telemetry_core::{Recovered, Span, SpanState, Timestamp, TraceId, WaitingEnd};

use super::join::{Joined, join, join_end};
use super::plan::{Plan, open_key};
use super::spans::Statements;
use super::state::{State, carried_key, waiting_key};
use super::traces::Traces;
use crate::codes::Code as _;
use crate::rows::{
    SPAN_COLUMN_COUNT, attributes_of, bind_span, read_span, span_id_bits, span_id_of, trace_id_of, ttl_of,
    ttl_seconds, word,
};
use crate::services::Services;
use crate::statement::{ManyRows, Values, json_pairs};

/// Open spans given back to the assembler at start, at most; the rest is completed by the store alone.
const MAX_RECOVERED: i64 = 100_000;

/// Stores what is known of spans that are not whole.
pub(super) async fn store(
    db: &mut SqliteConnection,
    statements: &Statements,
    plan: &Plan<'_>,
    traces: &mut Traces,
    state: &mut State,
) -> Result<(), sqlx::Error> {
    let mut rows: Vec<(i64, Span)> = Vec::new();
    let mut whole: Vec<(i64, Span)> = Vec::new();
    let keys = plan.open.iter().map(|(place, span)| open_key(traces.number(*place), span));
    let finished = finished_among(db, keys.filter(|(trace, _)| !traces.is_new(*trace)).collect()).await?;
    for (place, span) in &plan.open {
        let trace = traces.number(*place);
        if !traces.is_new(trace) {
            if finished.contains(&open_key(trace, span)) {
                traces.recompute(trace);
                continue;
            }
            if state.open.may_contain(&open_key(trace, span))
                && let Some(stored) = stored_half(db, trace, span, state).await?
            {
                let tells = |span: &Span| (span.start_time, span.parent_span_id, span.service_name.clone());
                let changed = tells(&stored) != tells(span);
                match join(stored, span) {
                    Joined::Whole(span) => whole.push((trace, span)),
                    Joined::Half(span) => rows.push((trace, span)),
                }
                if changed {
                    traces.recompute(trace);
                }
                continue;
            }
        }
        match waiting_end(db, span, state).await? {
            Some(end) => match join_end((*span).clone(), &end) {
                Joined::Whole(span) => {
                    prolong_trace(db, trace, &span).await?;
                    whole.push((trace, span));
                }
                Joined::Half(span) => rows.push((trace, span)),
            },
            None => rows.push((trace, (*span).clone())),
        }
    }
    put(db, &rows, state).await?;
    let whole: Vec<(i64, &Span)> = whole.iter().map(|(trace, span)| (*trace, span)).collect();
    statements.append(db, &whole, traces, state).await.map(drop)
}

/// The end that waits for a span, under its own ids or those its events carried.
async fn waiting_end(
    db: &mut SqliteConnection,
    span: &Span,
    state: &State,
) -> Result<Option<WaitingEnd>, sqlx::Error> {
    if !state.may_wait(span) {
        return Ok(None);
    }
    let row = sqlx::query(
        "SELECT trace_id, span_id, end_time, status, attributes, arrived, ttl FROM end_waiting \
         WHERE trace_id IN (?1, ?2) AND span_id = ?3 LIMIT 1",
    )
    .bind(&span.trace_id.to_bytes()[..])
    .bind(&carried_key(span).trace_id.to_bytes()[..])
    .bind(span_id_bits(span.span_id))
    .fetch_optional(db)
    .await?;
    row.as_ref().map(read_waiting).transpose()
}

/// A trace lasts as long as a span that was joined in it.
async fn prolong_trace(db: &mut SqliteConnection, trace: i64, span: &Span) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE trace SET end_time = coalesce(max(end_time, ?2), end_time, ?2), expires = max(expires, ?3) \
         WHERE id = ?1",
    )
    .bind(trace)
    .bind(span.end_time.map(Timestamp::as_nanos))
    .bind(span.expires().as_nanos())
    .execute(db)
    .await?;
    Ok(())
}

/// Which spans, named by their trace's number and their own bits, are stored whole.
async fn finished_among(
    db: &mut SqliteConnection,
    keys: Vec<(i64, i64)>,
) -> Result<HashSet<(i64, i64)>, sqlx::Error> {
    let mut finished = HashSet::new();
    if keys.is_empty() {
        return Ok(finished);
    }
    let query = sqlx::query_as::<_, (i64, i64)>(
        "SELECT s.trace, s.span_id FROM json_each(?) j CROSS JOIN span_row s \
         ON s.trace = json_extract(j.value, '$[0]') AND s.span_id = json_extract(j.value, '$[1]')",
    );
    finished.extend(query.bind(json_pairs(keys)).fetch_all(db).await?);
    Ok(finished)
}

async fn stored_half(
    db: &mut SqliteConnection,
    trace: i64,
    span: &Span,
    state: &State,
) -> Result<Option<Span>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT span_id, parent, name, kind, service, start_time, end_time, status, attributes, lag, ttl, extra, \
         state FROM span_open WHERE trace = ? AND span_id = ?",
    )
    .bind(trace)
    .bind(span_id_bits(span.span_id))
    .fetch_optional(db)
    .await?;
    row.map(|row| read_half(&row, 0, span.trace_id, &state.services_by_id)).transpose()
}

fn read_half(row: &SqliteRow, at: usize, trace: TraceId, services: &Services) -> Result<Span, sqlx::Error> {
    let state: SpanState = word(row.try_get_unchecked(at + SPAN_COLUMN_COUNT)?)?;
    read_span(row, at, trace, state, services)
}

fn replace() -> &'static ManyRows {
    static REPLACE: std::sync::LazyLock<ManyRows> = std::sync::LazyLock::new(|| {
        ManyRows::new(
            "REPLACE INTO span_open (trace, span_id, parent, name, kind, service, start_time, end_time, status, \
             attributes, lag, ttl, extra, state, submitted) VALUES",
            SPAN_COLUMN_COUNT + 3,
            "",
        )
    });
    &REPLACE
}

async fn put(db: &mut SqliteConnection, rows: &[(i64, Span)], state: &mut State) -> Result<(), sqlx::Error> {
    let services: Vec<i64> = rows.iter().map(|(_, span)| state.service(span.service_name.as_ref())).collect();
    let bind = |values: &mut Values, ((trace, span), service): (&(i64, Span), i64)| {
        values.add(*trace);
        bind_span(values, span, service);
        values.add(span.state.code());
        values.add(span.submitted_trace_id.map(|id| id.to_bytes().to_vec()));
    };
    replace().execute(db, rows.iter().zip(services), bind).await?;
    for (trace, span) in rows {
        state.open.insert(open_key(*trace, span));
    }
    Ok(())
}

/// Joins ends with the starts that are stored, and keeps those whose start is not.
pub(super) async fn store_waiting(
    db: &mut SqliteConnection,
    statements: &Statements,
    plan: &Plan<'_>,
    traces: &mut Traces,
    state: &mut State,
) -> Result<(), sqlx::Error> {
    for end in &plan.waiting {
        let Some((trace, stored)) = start_of(db, end, state).await? else {
            keep(db, end, state).await?;
            continue;
        };
        if let Joined::Whole(span) = join_end(stored, end) {
            prolong_trace(db, trace, &span).await?;
            statements.append(db, &[(trace, &span)], traces, state).await?;
        }
    }
    Ok(())
}

/// The start of a span, under its own ids or those its events carried.
async fn start_of(
    db: &mut SqliteConnection,
    end: &WaitingEnd,
    state: &State,
) -> Result<Option<(i64, Span)>, sqlx::Error> {
    if state.open.is_empty() {
        return Ok(None);
    }
    let row = sqlx::query(
        "SELECT s.trace, t.trace_id, s.span_id, s.parent, s.name, s.kind, s.service, s.start_time, s.end_time, \
         s.status, s.attributes, s.lag, s.ttl, s.extra, s.state \
         FROM span_open s JOIN trace t ON t.id = s.trace \
         WHERE s.span_id = ?2 AND (lower(hex(t.trace_id)) = ?1 OR s.submitted = ?3) LIMIT 1",
    )
    .bind(end.key.trace_id.to_string())
    .bind(span_id_bits(end.key.span_id))
    .bind(&end.key.trace_id.to_bytes()[..])
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let trace_id = trace_id_of(row.try_get_unchecked(1)?)?;
    Ok(Some((row.try_get_unchecked(0)?, read_half(&row, 2, trace_id, &state.services_by_id)?)))
}

/// Keeps an end, unless its span is whole already or another end of it waits.
async fn keep(db: &mut SqliteConnection, end: &WaitingEnd, state: &mut State) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT OR IGNORE INTO end_waiting (trace_id, span_id, end_time, status, attributes, arrived, ttl) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS ( \
           SELECT 1 FROM span_row s JOIN trace t ON t.id = s.trace \
           WHERE lower(hex(t.trace_id)) = ?8 AND s.span_id = ?2)",
    )
    .bind(&end.key.trace_id.to_bytes()[..])
    .bind(span_id_bits(end.key.span_id))
    .bind(end.end_time.as_nanos())
    .bind(end.status.code())
    .bind(end.attributes.to_json())
    .bind(end.arrived.as_nanos())
    .bind(ttl_seconds(end.ttl))
    .bind(end.key.trace_id.to_string())
    .execute(db)
    .await?;
    state.waiting.insert(waiting_key(end.key));
    Ok(())
}

/// Marks what an earlier run left open as unfinished, and gives it with the ends that wait.
pub(super) async fn recover(
    db: &mut SqliteConnection,
    services: &Services,
) -> Result<Recovered, sqlx::Error> {
    sqlx::query("UPDATE span_open SET state = ? WHERE state = ?")
        .bind(SpanState::Unfinished.code())
        .bind(SpanState::Open.code())
        .execute(&mut *db)
        .await?;
    let open = sqlx::query(
        "SELECT t.trace_id, s.span_id, s.parent, s.name, s.kind, s.service, s.start_time, s.end_time, s.status, \
         s.attributes, s.lag, s.ttl, s.extra, s.state FROM span_open s JOIN trace t ON t.id = s.trace \
         WHERE s.end_time IS NULL ORDER BY s.start_time DESC LIMIT ?",
    )
    .bind(MAX_RECOVERED)
    .fetch_all(&mut *db)
    .await?;
    let waiting = sqlx::query(
        "SELECT trace_id, span_id, end_time, status, attributes, arrived, ttl FROM end_waiting \
         ORDER BY arrived DESC LIMIT ?",
    )
    .bind(MAX_RECOVERED)
    .fetch_all(db)
    .await?;
    let open_spans =
        open.iter().map(|row| read_half(row, 1, trace_id_of(row.try_get_unchecked(0)?)?, services));
    Ok(Recovered {
        open_spans: open_spans.collect::<Result<_, sqlx::Error>>()?,
        waiting_ends: waiting.iter().map(read_waiting).collect::<Result<_, _>>()?,
    })
}

fn read_waiting(row: &SqliteRow) -> Result<WaitingEnd, sqlx::Error> {
    let trace_id = trace_id_of(row.try_get_unchecked(0)?)?;
    Ok(WaitingEnd {
        key: telemetry_core::SpanKey::new(trace_id, span_id_of(row.try_get_unchecked(1)?)?),
        end_time: Timestamp::from_nanos(row.try_get_unchecked(2)?),
        status: word(row.try_get_unchecked(3)?)?,
        attributes: attributes_of(row.try_get_unchecked(4)?)?,
        arrived: Timestamp::from_nanos(row.try_get_unchecked(5)?),
        ttl: ttl_of(row.try_get_unchecked(6)?),
    })
}
