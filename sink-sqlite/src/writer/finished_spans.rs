//! Finished spans: each is appended once.

use std::collections::{HashMap, HashSet};

use sqlx::SqliteConnection;
use telemetry_core::Span;

use super::batch_parts::BatchPart;
use super::file_state::FileState;
use super::keys::{OpenKey, carried_key, open_key, waiting_key};
use super::traces::Traces;
use crate::bulk_statement::{self, BulkStatement, json_pairs};
use crate::postings;
use crate::rows::{SpanColumns, read_row, span_id_bits, table_columns};

table_columns! {
    /// A row of `span_row`.
    struct SpanRow<'r> {
        id: i64,
        trace: i64,
        span: SpanColumns<'r>,
    }
}

/// Appends finished spans.
pub(super) struct FinishedSpans {
    append: BulkStatement,
}

impl FinishedSpans {
    pub(super) fn new() -> Self {
        Self { append: BulkStatement::new::<SpanRow<'_>>("INSERT OR IGNORE INTO span_row", "") }
    }

    /// Stores the complete spans of a part of a batch. Returns those that were stored before.
    pub(super) async fn store<'a>(
        &self,
        db: &mut SqliteConnection,
        part: &BatchPart<'a>,
        traces: &mut Traces,
        state: &mut FileState,
    ) -> Result<Vec<&'a Span>, sqlx::Error> {
        let spans: Vec<(i64, &'a Span)> =
            part.finished.iter().map(|(trace, span)| (traces.number(*trace), *span)).collect();
        let first = state.next_span;
        if self.append(&mut *db, &spans, traces, state).await? == spans.len() as u64 {
            return Ok(Vec::new());
        }
        let added =
            sqlx::query_scalar("SELECT id FROM span_row WHERE id >= ?").bind(first).fetch_all(db).await?;
        let added: HashSet<i64> = added.into_iter().collect();
        let numbered = (first..).zip(&spans);
        Ok(numbered.filter(|(id, _)| !added.contains(id)).map(|(_, (_, span))| *span).collect())
    }

    /// Appends spans, each with the number of its trace, and deletes what was stored of them while they were
    /// incomplete. Returns the number of spans that were not there before.
    pub(super) async fn append(
        &self,
        db: &mut SqliteConnection,
        spans: &[(i64, &Span)],
        traces: &mut Traces,
        state: &mut FileState,
    ) -> Result<u64, sqlx::Error> {
        if spans.is_empty() {
            return Ok(0);
        }
        let first = state.next_span;
        state.next_span += i64::try_from(spans.len()).unwrap_or(i64::MAX);
        let mut next = first;
        // Lazily: the attributes of all spans as JSON may take as much memory as the spans.
        let rows = spans.iter().map(|(trace, span)| {
            let id = next;
            next += 1;
            let service = state.service(span.service_name.as_ref());
            SpanRow { id, trace: *trace, span: SpanColumns::of(span, service) }
        });
        let stored = self.append.execute(&mut *db, rows).await?;
        if stored < spans.len() as u64 {
            // A span that was there before has changed nothing, but the row of its trace was changed for it.
            for (trace, _) in spans {
                traces.recompute(*trace);
            }
        }
        postings::add_spans(db, &state.unsealed_blocks, &state.own_name, first, spans).await?;
        delete_incomplete(db, spans, traces, state).await?;
        Ok(stored)
    }
}

/// Deletes what was stored of spans while they were incomplete, and their ends that waited.
async fn delete_incomplete(
    db: &mut SqliteConnection,
    spans: &[(i64, &Span)],
    traces: &mut Traces,
    state: &mut FileState,
) -> Result<(), sqlx::Error> {
    let keys = spans.iter().map(|(trace, span)| (open_key(*trace, span), *span));
    let open: HashMap<OpenKey, &Span> = keys.filter(|(key, _)| state.open.may_contain(key)).collect();
    if !open.is_empty() {
        let mut deleted = Vec::new();
        let delete = sqlx::query(
            "DELETE FROM span_open WHERE (trace, span_id) IN \
             (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)) \
             RETURNING trace, span_id, start_time, parent, service",
        )
        .bind(json_pairs(open.keys().copied()));
        bulk_statement::run(db, delete, |row| deleted.push(row)).await?;
        for row in deleted {
            let (trace, span_id, start_time, parent, service): (i64, i64, i64, Option<i64>, i64) =
                read_row(&row)?;
            let is_same = open.get(&(trace, span_id)).is_some_and(|span| {
                start_time == span.start_time.as_nanos()
                    && parent == span.parent_span_id.map(span_id_bits)
                    && service == state.service(span.service_name.as_ref())
            });
            if !is_same {
                traces.recompute(trace);
            }
        }
        for key in open.keys() {
            state.open.remove(key);
        }
    }
    for (_, span) in spans {
        if state.end_may_wait(span) {
            for key in [carried_key(span), span.key()] {
                sqlx::query("DELETE FROM end_waiting WHERE trace_id = ? AND span_id = ?")
                    .bind(&key.trace_id.to_bytes()[..])
                    .bind(span_id_bits(key.span_id))
                    .execute(&mut *db)
                    .await?;
                state.waiting.remove(&waiting_key(key));
            }
        }
    }
    Ok(())
}
