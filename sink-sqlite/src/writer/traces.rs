//! One row per trace, kept up once per batch.

use std::collections::HashMap;

use sqlx::{Row, SqliteConnection};

use super::plan::{Plan, TraceChange};
use super::state::State;
use crate::rows::trace_id_of;
use crate::statement::{ManyRows, json_list};

pub(super) struct Statements {
    upsert: ManyRows,
}

/// The numbers of a batch's traces, by their place in the plan.
pub(super) struct Traces {
    numbers: Vec<i64>,
    /// Numbers from here on were given by this batch.
    first_new: i64,
    recompute: Vec<i64>,
}

impl Traces {
    pub(super) fn number(&self, place: usize) -> i64 {
        self.numbers[place]
    }

    /// Whether nothing can be stored of the trace yet.
    pub(super) fn is_new(&self, number: i64) -> bool {
        number >= self.first_new
    }

    /// What is known of the trace must be found anew, from all its spans.
    pub(super) fn recompute(&mut self, number: i64) {
        self.recompute.push(number);
    }
}

impl Statements {
    pub(super) fn new() -> Self {
        Self {
            upsert: ManyRows::new(
                "INSERT INTO trace \
                 (id, trace_id, start_time, end_time, expires, created, root, root_start, service) VALUES",
                9,
                // min and max of a null are null, hence the coalescing. An expired trace of this id is
                // another trace: it is not touched, and not returned.
                "ON CONFLICT (lower(hex(trace_id))) DO UPDATE SET \
                 start_time = coalesce(min(start_time, excluded.start_time), start_time, excluded.start_time), \
                 end_time = coalesce(max(end_time, excluded.end_time), end_time, excluded.end_time), \
                 expires = max(expires, excluded.expires), \
                 (root, root_start, service) = (SELECT \
                   iif(new, excluded.root, root), \
                   iif(new, excluded.root_start, root_start), \
                   iif(new, excluded.service, service) \
                   FROM (SELECT excluded.root IS NOT NULL AND (root IS NULL OR \
                     (excluded.root_start, excluded.root < 0, excluded.root) < (root_start, root < 0, root)) AS new)) \
                 WHERE expires > excluded.created \
                 RETURNING id, trace_id",
            ),
        }
    }

    /// Adds to every trace of the batch, and finds its number.
    pub(super) async fn upsert(
        &self,
        db: &mut SqliteConnection,
        plan: &Plan<'_>,
        state: &mut State,
    ) -> Result<Traces, sqlx::Error> {
        let first_new = state.next_trace;
        let places: HashMap<u128, usize> =
            plan.traces.iter().enumerate().map(|(place, trace)| (trace.id.as_u128(), place)).collect();
        let mut numbers = vec![0; plan.traces.len()];
        let mut left: Vec<&TraceChange<'_>> = plan.traces.iter().collect();
        // The second round, if any, is for those whose id an expired trace had.
        for _ in 0..2 {
            let rows = left.iter().map(|trace| {
                let number = state.next_trace;
                state.next_trace += 1;
                (number, *trace, trace.root.map(|root| (root, state.service(root.service.as_ref()))))
            });
            let rows: Vec<_> = rows.collect();
            let returned = self.upsert.fetch(db, rows.into_iter(), |values, (number, trace, root)| {
                values.add(number);
                values.add(&trace.id.to_bytes()[..]);
                values.add(trace.start);
                values.add(trace.end);
                values.add(trace.expires);
                values.add(trace.arrived);
                values.add(root.map(|(root, _)| root.bits()));
                values.add(root.map(|(root, _)| root.start));
                values.add(root.map(|(_, service)| service));
            });
            for row in returned.await? {
                let id = trace_id_of(row.try_get_unchecked(1)?)?;
                if let Some(&place) = places.get(&id.as_u128()) {
                    numbers[place] = row.try_get_unchecked(0)?;
                }
            }
            left.retain(|trace| places.get(&trace.id.as_u128()).is_some_and(|&place| numbers[place] == 0));
            if left.is_empty() {
                break;
            }
            set_aside(db, &left).await?;
        }
        let recompute =
            plan.traces.iter().zip(&numbers).filter(|(trace, _)| trace.recompute).map(|(_, &number)| number);
        Ok(Traces { recompute: recompute.collect(), numbers, first_new })
    }
}

/// Takes the id away from traces that have expired and are not deleted yet.
async fn set_aside(db: &mut SqliteConnection, traces: &[&TraceChange<'_>]) -> Result<(), sqlx::Error> {
    for trace in traces {
        sqlx::query(
            "UPDATE trace SET trace_id = CAST('expired ' || id AS BLOB), expires = min(expires, ?2) \
             WHERE lower(hex(trace_id)) = ?1",
        )
        .bind(trace.id.to_string())
        .bind(trace.arrived)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// Finds start, end and root of traces anew, from all their spans.
pub(super) async fn recompute(db: &mut SqliteConnection, traces: &Traces) -> Result<(), sqlx::Error> {
    if traces.recompute.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "WITH spans AS ( \
           SELECT trace, span_id, parent, start_time, end_time, service FROM span_row \
           WHERE trace IN (SELECT value FROM json_each(?1)) \
           UNION ALL \
           SELECT trace, span_id, parent, start_time, end_time, service FROM span_open \
           WHERE trace IN (SELECT value FROM json_each(?1))), \
         times AS (SELECT trace, min(start_time) AS first, max(end_time) AS last FROM spans GROUP BY trace), \
         roots AS (SELECT trace, span_id, start_time, service, row_number() OVER ( \
           PARTITION BY trace ORDER BY start_time, span_id < 0, span_id) AS place \
           FROM spans WHERE parent IS NULL) \
         UPDATE trace SET start_time = times.first, end_time = times.last, \
           root = roots.span_id, root_start = roots.start_time, service = roots.service \
         FROM times LEFT JOIN roots ON roots.trace = times.trace AND roots.place = 1 \
         WHERE trace.id = times.trace",
    )
    .bind(json_list(traces.recompute.iter().copied()))
    .execute(db)
    .await?;
    Ok(())
}
