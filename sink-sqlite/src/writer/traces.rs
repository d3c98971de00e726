//! One row per trace, updated once per part of a batch.

use std::borrow::Cow;
use std::collections::HashMap;

use sqlx::SqliteConnection;

use super::batch_parts::{BatchPart, TraceChange};
use super::file_state::FileState;
use crate::bulk_statement::{BulkStatement, json_list};
use crate::rows::{read_row, table_columns, trace_id_of};

table_columns! {
    /// A row of `trace`.
    struct TraceRow<'r> {
        id: i64,
        trace_id: Cow<'r, [u8]>,
        start_time: Option<i64>,
        end_time: Option<i64>,
        expires: i64,
        created: i64,
        root: Option<i64>,
        root_start: Option<i64>,
        service: Option<i64>,
    }
}

impl TraceRow<'_> {
    /// Returns the row of a trace of which nothing else is stored.
    fn of(change: &TraceChange<'_>, id: i64, state: &FileState) -> Self {
        Self {
            id,
            trace_id: change.id.to_bytes().to_vec().into(),
            start_time: change.start,
            end_time: change.end,
            expires: change.expires,
            created: change.arrived,
            root: change.root.map(|root| root.span_id.cast_signed()),
            root_start: change.root.map(|root| root.start),
            service: change.root.map(|root| state.service(root.service.as_ref())),
        }
    }
}

/// Adds to the rows of traces.
pub(super) struct TraceStatements {
    upsert: BulkStatement,
}

/// The numbers of the traces of a part of a batch, by their index in the part.
pub(super) struct Traces {
    numbers: Vec<i64>,
    /// Numbers from here on belong to traces that this part added.
    first_new: i64,
    recompute: Vec<i64>,
}

impl Traces {
    /// Returns the number of a trace.
    pub(super) fn number(&self, index: usize) -> i64 {
        self.numbers[index]
    }

    /// Returns true if nothing else can be stored of the trace yet.
    pub(super) fn is_new(&self, number: i64) -> bool {
        number >= self.first_new
    }

    /// Notes that start, end and root of a trace must be found again from all its spans.
    pub(super) fn recompute(&mut self, number: i64) {
        self.recompute.push(number);
    }
}

impl TraceStatements {
    pub(super) fn new() -> Self {
        Self {
            upsert: BulkStatement::new::<TraceRow<'_>>(
                "INSERT INTO trace",
                // min and max of a null are null, hence the coalescing. An expired trace of this id is another trace:
                // it is neither changed nor returned.
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

    /// Adds a part of a batch to the rows of its traces. Returns the numbers of the traces.
    pub(super) async fn upsert(
        &self,
        db: &mut SqliteConnection,
        part: &BatchPart<'_>,
        state: &mut FileState,
    ) -> Result<Traces, sqlx::Error> {
        let first_new = state.next_trace;
        let indexes: HashMap<u128, usize> =
            part.traces.iter().enumerate().map(|(index, trace)| (trace.id.as_u128(), index)).collect();
        let mut numbers = vec![0; part.traces.len()];
        let mut left: Vec<&TraceChange<'_>> = part.traces.iter().collect();
        // The second round is for traces whose id an expired trace had. There is rarely one.
        for _ in 0..2 {
            let first = state.next_trace;
            state.next_trace += i64::try_from(left.len()).unwrap_or(i64::MAX);
            let rows: Vec<_> =
                (first..).zip(&left).map(|(number, trace)| TraceRow::of(trace, number, state)).collect();
            for row in self.upsert.fetch(db, rows.into_iter()).await? {
                let (number, trace_id): (i64, &[u8]) = read_row(&row)?;
                if let Some(&index) = indexes.get(&trace_id_of(trace_id)?.as_u128()) {
                    numbers[index] = number;
                }
            }
            left.retain(|trace| indexes.get(&trace.id.as_u128()).is_some_and(|&index| numbers[index] == 0));
            if left.is_empty() {
                break;
            }
            remove_ids(db, &left).await?;
        }
        let recompute = part.traces.iter().zip(&numbers).filter(|(trace, _)| trace.recompute);
        Ok(Traces { recompute: recompute.map(|(_, &number)| number).collect(), numbers, first_new })
    }
}

/// Removes the ids of traces that have expired and are not deleted yet, so that new traces can have them.
async fn remove_ids(db: &mut SqliteConnection, traces: &[&TraceChange<'_>]) -> Result<(), sqlx::Error> {
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

/// Finds start, end and root again, from all spans of the traces for which that was noted.
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
           PARTITION BY trace ORDER BY start_time, span_id < 0, span_id) AS position \
           FROM spans WHERE parent IS NULL) \
         UPDATE trace SET start_time = times.first, end_time = times.last, \
           root = roots.span_id, root_start = roots.start_time, service = roots.service \
         FROM times LEFT JOIN roots ON roots.trace = times.trace AND roots.position = 1 \
         WHERE trace.id = times.trace",
    )
    .bind(json_list(traces.recompute.iter().copied()))
    .execute(db)
    .await?;
    Ok(())
}
