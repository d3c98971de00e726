//! Finished spans: appended, once each.

use std::collections::{HashMap, HashSet};

use sqlx::{Row as _, SqliteConnection};
use telemetry_core::Span;

use super::plan::Plan;
use super::state::{State, carried_key, waiting_key};
use super::traces::Traces;
use crate::postings;
use crate::rows::{SPAN_COLUMN_COUNT, SPAN_COLUMNS, bind_span, span_id_bits};
use crate::statement::{self, ManyRows, json_pairs};

pub(super) struct Statements {
    append: ManyRows,
}

impl Statements {
    pub(super) fn new() -> Self {
        let head = format!("INSERT OR IGNORE INTO span_row (id, trace, {SPAN_COLUMNS}) VALUES");
        Self { append: ManyRows::new(&head, SPAN_COLUMN_COUNT + 2, "") }
    }

    /// Stores the spans that are whole in this batch; gives those that were stored before.
    pub(super) async fn store_finished<'a>(
        &self,
        db: &mut SqliteConnection,
        plan: &Plan<'a>,
        traces: &mut Traces,
        state: &mut State,
    ) -> Result<Vec<&'a Span>, sqlx::Error> {
        let spans: Vec<(i64, &'a Span)> =
            plan.finished.iter().map(|(place, span)| (traces.number(*place), *span)).collect();
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

    /// Appends whole spans, given with their trace's number, and forgets their halves. Says how many were
    /// not there before.
    pub(super) async fn append(
        &self,
        db: &mut SqliteConnection,
        spans: &[(i64, &Span)],
        traces: &mut Traces,
        state: &mut State,
    ) -> Result<u64, sqlx::Error> {
        if spans.is_empty() {
            return Ok(0);
        }
        let first = state.next_span;
        let numbered = (first..).zip(spans);
        let rows: Vec<_> = numbered
            .map(|(id, (trace, span))| (id, *trace, *span, state.service(span.service_name.as_ref())))
            .collect();
        state.next_span += i64::try_from(spans.len()).unwrap_or(i64::MAX);
        let stored = self
            .append
            .execute(&mut *db, rows.iter(), |values, (id, trace, span, service)| {
                values.add(*id);
                values.add(*trace);
                bind_span(values, span, *service);
            })
            .await?;
        if stored < spans.len() as u64 {
            // A span that was there before has changed nothing, but its trace was told otherwise.
            for (trace, _) in spans {
                traces.recompute(*trace);
            }
        }
        postings::add(db, &state.open_blocks, &state.own_name, first, spans).await?;
        forget_halves(db, spans, traces, state).await?;
        Ok(stored)
    }
}

/// Deletes what was stored of spans before they were whole.
async fn forget_halves(
    db: &mut SqliteConnection,
    spans: &[(i64, &Span)],
    traces: &mut Traces,
    state: &mut State,
) -> Result<(), sqlx::Error> {
    let keys = spans.iter().map(|(trace, span)| ((*trace, span_id_bits(span.span_id)), *span));
    let open: HashMap<(i64, i64), &Span> = keys.filter(|(key, _)| state.open.may_contain(key)).collect();
    if !open.is_empty() {
        let mut forgotten = Vec::new();
        let delete = sqlx::query(
            "DELETE FROM span_open WHERE (trace, span_id) IN \
             (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)) \
             RETURNING trace, span_id, start_time, parent, service",
        )
        .bind(json_pairs(open.keys().copied()));
        statement::run(db, delete, |row| forgotten.push(row)).await?;
        for row in forgotten {
            let key = (row.try_get_unchecked(0)?, row.try_get_unchecked(1)?);
            let known: (i64, Option<i64>, i64) =
                (row.try_get_unchecked(2)?, row.try_get_unchecked(3)?, row.try_get_unchecked(4)?);
            let is_same = open.get(&key).is_some_and(|span| {
                let parent = span.parent_span_id.map(span_id_bits);
                known == (span.start_time.as_nanos(), parent, state.service(span.service_name.as_ref()))
            });
            if !is_same {
                traces.recompute(key.0);
            }
        }
        for key in open.keys() {
            state.open.remove(key);
        }
    }
    for (_, span) in spans {
        if state.may_wait(span) {
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
