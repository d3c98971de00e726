//! Spans whose start or end is missing, and ends that wait for their start.

use std::collections::HashSet;
use std::sync::LazyLock;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use telemetry_core::{Recovered, Span, SpanState, Timestamp, TraceId, WaitingEnd};

use super::batch_parts::{BatchPart, changes_trace};
use super::file_state::FileState;
use super::finished_spans::FinishedSpans;
use super::keys::{OpenKey, carried_key, open_key, waiting_key};
use super::span_halves::{Merged, merge_end, merge_span};
use super::traces::Traces;
use crate::bulk_statement::{BulkStatement, json_pairs};
use crate::rows::{
    Services, SpanColumns, StoredWord as _, Values, WaitingEndColumns, column_names, placeholders, read_row,
    select_list, span_id_bits, table_columns, trace_id_of, word,
};

/// Incomplete spans that the assembler receives at start, at most. The store alone completes the others.
const MAX_RECOVERED: i64 = 100_000;

table_columns! {
    /// A row of `span_open`.
    struct OpenRow<'r> {
        trace: i64,
        span: SpanColumns<'r>,
        state: i64,
        submitted: Option<&'r [u8]>,
    }
}

/// Stores the incomplete spans of a part of a batch.
pub(super) async fn store(
    db: &mut SqliteConnection,
    finished_spans: &FinishedSpans,
    part: &BatchPart<'_>,
    traces: &mut Traces,
    state: &mut FileState,
) -> Result<(), sqlx::Error> {
    let mut incomplete: Vec<(i64, Span)> = Vec::new();
    let mut complete: Vec<(i64, Span)> = Vec::new();
    let keys = part.open.iter().map(|(trace, span)| open_key(traces.number(*trace), span));
    let finished = finished_among(db, keys.filter(|(trace, _)| !traces.is_new(*trace)).collect()).await?;
    for (trace, span) in &part.open {
        let trace = traces.number(*trace);
        if !traces.is_new(trace) {
            if finished.contains(&open_key(trace, span)) {
                traces.recompute(trace);
                continue;
            }
            if state.open.may_contain(&open_key(trace, span))
                && let Some(stored) = stored_version(db, trace, span, state).await?
            {
                if changes_trace(&stored, span) {
                    traces.recompute(trace);
                }
                match merge_span(stored, span) {
                    Merged::Complete(span) => complete.push((trace, span)),
                    Merged::Incomplete(span) => incomplete.push((trace, span)),
                }
                continue;
            }
        }
        match waiting_end_of(db, span, state).await? {
            Some(end) => match merge_end((*span).clone(), &end) {
                Merged::Complete(span) => {
                    extend_trace(db, trace, &span).await?;
                    complete.push((trace, span));
                }
                Merged::Incomplete(span) => incomplete.push((trace, span)),
            },
            None => incomplete.push((trace, (*span).clone())),
        }
    }
    replace(db, &incomplete, state).await?;
    let complete: Vec<(i64, &Span)> = complete.iter().map(|(trace, span)| (*trace, span)).collect();
    finished_spans.append(db, &complete, traces, state).await.map(drop)
}

/// Returns the end that waits for a span, by its own ids or those that its events carried.
async fn waiting_end_of(
    db: &mut SqliteConnection,
    span: &Span,
    state: &FileState,
) -> Result<Option<WaitingEnd>, sqlx::Error> {
    static END: LazyLock<String> = LazyLock::new(|| {
        let columns = select_list::<WaitingEndColumns<'_>>("w");
        format!("SELECT {columns} FROM end_waiting w WHERE w.trace_id IN (?1, ?2) AND w.span_id = ?3 LIMIT 1")
    });
    if !state.end_may_wait(span) {
        return Ok(None);
    }
    let row = sqlx::query(END.as_str())
        .bind(&span.trace_id.to_bytes()[..])
        .bind(&carried_key(span).trace_id.to_bytes()[..])
        .bind(span_id_bits(span.span_id))
        .fetch_optional(db)
        .await?;
    row.as_ref().map(read_end).transpose()
}

fn read_end(row: &SqliteRow) -> Result<WaitingEnd, sqlx::Error> {
    read_row::<WaitingEndColumns<'_>>(row)?.into_end()
}

/// Extends a trace to the end and the expiry of a span that was merged.
async fn extend_trace(db: &mut SqliteConnection, trace: i64, span: &Span) -> Result<(), sqlx::Error> {
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

/// Returns those of some spans that are finished already.
async fn finished_among(
    db: &mut SqliteConnection,
    keys: Vec<OpenKey>,
) -> Result<HashSet<OpenKey>, sqlx::Error> {
    let mut finished = HashSet::new();
    if keys.is_empty() {
        return Ok(finished);
    }
    let query = sqlx::query_as::<_, OpenKey>(
        "SELECT s.trace, s.span_id FROM json_each(?) j CROSS JOIN span_row s \
         ON s.trace = json_extract(j.value, '$[0]') AND s.span_id = json_extract(j.value, '$[1]')",
    );
    finished.extend(query.bind(json_pairs(keys)).fetch_all(db).await?);
    Ok(finished)
}

/// Returns what is stored of an incomplete span.
async fn stored_version(
    db: &mut SqliteConnection,
    trace: i64,
    span: &Span,
    state: &FileState,
) -> Result<Option<Span>, sqlx::Error> {
    static OPEN: LazyLock<String> = LazyLock::new(|| {
        let columns = select_list::<SpanColumns<'_>>("s");
        format!("SELECT {columns}, s.state FROM span_open s WHERE s.trace = ? AND s.span_id = ?")
    });
    let row =
        sqlx::query(OPEN.as_str()).bind(trace).bind(span_id_bits(span.span_id)).fetch_optional(db).await?;
    let Some(row) = row else { return Ok(None) };
    let (columns, code): (SpanColumns<'_>, i64) = read_row(&row)?;
    columns.into_span(span.trace_id, word(code)?, &state.services_by_id).map(Some)
}

/// Stores incomplete spans, in place of what is stored of them.
async fn replace(
    db: &mut SqliteConnection,
    spans: &[(i64, Span)],
    state: &mut FileState,
) -> Result<(), sqlx::Error> {
    static REPLACE: LazyLock<BulkStatement> =
        LazyLock::new(|| BulkStatement::new::<OpenRow<'_>>("REPLACE INTO span_open", ""));
    let submitted: Vec<Option<[u8; 16]>> =
        spans.iter().map(|(_, span)| span.submitted_trace_id.map(TraceId::to_bytes)).collect();
    let rows = spans.iter().zip(&submitted).map(|((trace, span), submitted)| OpenRow {
        trace: *trace,
        span: SpanColumns::of(span, state.service(span.service_name.as_ref())),
        state: span.state.code(),
        submitted: submitted.as_ref().map(<[u8; 16]>::as_slice),
    });
    REPLACE.execute(db, rows).await?;
    for (trace, span) in spans {
        state.open.insert(open_key(*trace, span));
    }
    Ok(())
}

/// Merges ends that came without their start with the starts that are stored. Keeps the other ends until their start
/// arrives.
pub(super) async fn store_ends(
    db: &mut SqliteConnection,
    finished_spans: &FinishedSpans,
    part: &BatchPart<'_>,
    traces: &mut Traces,
    state: &mut FileState,
) -> Result<(), sqlx::Error> {
    for end in &part.waiting {
        let Some((trace, stored)) = start_of(db, end, state).await? else {
            keep_end(db, end, state).await?;
            continue;
        };
        if let Merged::Complete(span) = merge_end(stored, end) {
            extend_trace(db, trace, &span).await?;
            finished_spans.append(db, &[(trace, &span)], traces, state).await?;
        }
    }
    Ok(())
}

/// Returns the stored start of an end's span and the number of its trace, by its own ids or those that its events
/// carried.
async fn start_of(
    db: &mut SqliteConnection,
    end: &WaitingEnd,
    state: &FileState,
) -> Result<Option<(i64, Span)>, sqlx::Error> {
    static START: LazyLock<String> = LazyLock::new(|| {
        let columns = select_list::<SpanColumns<'_>>("s");
        let columns = format!("s.trace, t.trace_id, {columns}, s.state");
        // Two look-ups, each by an index. One condition with OR would read every incomplete span.
        format!(
            "SELECT {columns} FROM trace t CROSS JOIN span_open s ON s.trace = t.id \
             WHERE lower(hex(t.trace_id)) = ?1 AND s.span_id = ?2 \
             UNION ALL \
             SELECT {columns} FROM span_open s CROSS JOIN trace t ON t.id = s.trace \
             WHERE s.submitted = ?3 AND s.span_id = ?2 \
             LIMIT 1"
        )
    });
    if state.open.is_empty() {
        return Ok(None);
    }
    let row = sqlx::query(START.as_str())
        .bind(end.key.trace_id.to_string())
        .bind(span_id_bits(end.key.span_id))
        .bind(&end.key.trace_id.to_bytes()[..])
        .fetch_optional(db)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (trace, trace_id, columns, code): (i64, &[u8], SpanColumns<'_>, i64) = read_row(&row)?;
    let span = columns.into_span(trace_id_of(trace_id)?, word(code)?, &state.services_by_id)?;
    Ok(Some((trace, span)))
}

/// Keeps an end until its start arrives, unless its span is finished already or another end of it waits.
async fn keep_end(
    db: &mut SqliteConnection,
    end: &WaitingEnd,
    state: &mut FileState,
) -> Result<(), sqlx::Error> {
    static KEEP: LazyLock<String> = LazyLock::new(|| {
        let columns = column_names::<WaitingEndColumns<'_>>().join(", ");
        let placeholders = placeholders::<WaitingEndColumns<'_>>();
        format!(
            "WITH new ({columns}) AS (VALUES ({placeholders})) \
             INSERT OR IGNORE INTO end_waiting ({columns}) SELECT {columns} FROM new WHERE NOT EXISTS ( \
               SELECT 1 FROM span_row s JOIN trace t ON t.id = s.trace \
               WHERE lower(hex(t.trace_id)) = lower(hex(new.trace_id)) AND s.span_id = new.span_id)"
        )
    });
    let values = Values::of(WaitingEndColumns::of(end)).finish()?;
    sqlx::query_with(KEEP.as_str(), values).execute(db).await?;
    state.waiting.insert(waiting_key(end.key));
    Ok(())
}

/// Marks the spans that an earlier run left open as unfinished. Returns them, with the ends that wait.
pub(super) async fn recover(
    db: &mut SqliteConnection,
    services: &Services,
) -> Result<Recovered, sqlx::Error> {
    static OPEN: LazyLock<String> = LazyLock::new(|| {
        let columns = select_list::<SpanColumns<'_>>("s");
        format!(
            "SELECT t.trace_id, {columns}, s.state FROM span_open s JOIN trace t ON t.id = s.trace \
             WHERE s.end_time IS NULL ORDER BY s.start_time DESC LIMIT ?"
        )
    });
    static WAITING: LazyLock<String> = LazyLock::new(|| {
        let columns = select_list::<WaitingEndColumns<'_>>("w");
        format!("SELECT {columns} FROM end_waiting w ORDER BY w.arrived DESC LIMIT ?")
    });
    sqlx::query("UPDATE span_open SET state = ? WHERE state = ?")
        .bind(SpanState::Unfinished.code())
        .bind(SpanState::Open.code())
        .execute(&mut *db)
        .await?;
    let open = sqlx::query(OPEN.as_str()).bind(MAX_RECOVERED).fetch_all(&mut *db).await?;
    let waiting = sqlx::query(WAITING.as_str()).bind(MAX_RECOVERED).fetch_all(db).await?;
    let read_open = |row: &SqliteRow| {
        let (trace_id, columns, code): (&[u8], SpanColumns<'_>, i64) = read_row(row)?;
        columns.into_span(trace_id_of(trace_id)?, word(code)?, services)
    };
    Ok(Recovered {
        open_spans: open.iter().map(read_open).collect::<Result<_, sqlx::Error>>()?,
        waiting_ends: waiting.iter().map(read_end).collect::<Result<_, _>>()?,
    })
}
