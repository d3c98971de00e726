//! Finished spans: appended, once each.

use sqlx::SqliteConnection;
use telemetry_core::Span;

use super::plan::Plan;
use super::state::{State, carried_key, waiting_key};
use super::traces::Traces;
use crate::postings;
use crate::rows::{SPAN_COLUMN_COUNT, SPAN_COLUMNS, bind_span, span_id_bits};
use crate::statement::{ManyRows, json_pairs};

pub(super) struct Statements {
    append: ManyRows,
}

impl Statements {
    pub(super) fn new() -> Self {
        let head = format!("INSERT OR IGNORE INTO span_row (id, trace, {SPAN_COLUMNS}) VALUES");
        Self { append: ManyRows::new(&head, SPAN_COLUMN_COUNT + 2, "") }
    }

    /// Stores the spans that are whole in this batch.
    pub(super) async fn store_finished(
        &self,
        db: &mut SqliteConnection,
        plan: &Plan<'_>,
        traces: &Traces,
        state: &mut State,
    ) -> Result<(), sqlx::Error> {
        let spans: Vec<(i64, &Span)> =
            plan.finished.iter().map(|(place, span)| (traces.number(*place), *span)).collect();
        self.append(db, &spans, state).await
    }

    /// Appends whole spans, given with their trace's number, and forgets their halves.
    pub(super) async fn append(
        &self,
        db: &mut SqliteConnection,
        spans: &[(i64, &Span)],
        state: &mut State,
    ) -> Result<(), sqlx::Error> {
        if spans.is_empty() {
            return Ok(());
        }
        let first = state.next_span;
        let numbered = (first..).zip(spans);
        let rows: Vec<_> = numbered
            .map(|(id, (trace, span))| (id, *trace, *span, state.service(span.service_name.as_ref())))
            .collect();
        state.next_span += i64::try_from(spans.len()).unwrap_or(i64::MAX);
        self.append
            .execute(&mut *db, rows.iter(), |values, (id, trace, span, service)| {
                values.add(*id);
                values.add(*trace);
                bind_span(values, span, *service);
            })
            .await?;
        postings::add(db, &mut state.open_block, first, spans).await?;
        forget_halves(db, spans, state).await
    }
}

/// Deletes what was stored of spans before they were whole.
async fn forget_halves(
    db: &mut SqliteConnection,
    spans: &[(i64, &Span)],
    state: &mut State,
) -> Result<(), sqlx::Error> {
    let keys = spans.iter().map(|(trace, span)| (*trace, span_id_bits(span.span_id)));
    let open: Vec<(i64, i64)> = keys.filter(|key| state.open.may_contain(key)).collect();
    if !open.is_empty() {
        sqlx::query(
            "DELETE FROM span_open WHERE (trace, span_id) IN \
             (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))",
        )
        .bind(json_pairs(open.iter().copied()))
        .execute(&mut *db)
        .await?;
        for key in &open {
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
