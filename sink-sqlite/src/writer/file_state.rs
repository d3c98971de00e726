//! What the writer keeps in memory of the file, so that it rarely has to read the file.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::SqliteConnection;
use telemetry_core::{BatchId, RunId, Span};

use super::keys::{KeySet, MAX_KEYS, OpenKey, WaitingKey, carried_key, waiting_key};
use crate::bulk_statement;
use crate::postings::UnsealedBlocks;
use crate::rows::{Services, read_row, selected_columns, trace_id_of};

/// Series, and services, whose numbers are in memory at most.
const MAX_SERIES: usize = 1 << 16;

/// The error of a write to a file that another program has changed.
const CHANGED: &str = "another program changed the database, or an earlier copy of it was put in its place; \
                       reading it again";

/// Agrees with the file between batches. Storing a batch changes it. If that fails, it is read from the file again.
pub(super) struct FileState {
    run: RunId,
    batch: u64,
    /// The row of `meta` as it is in the file.
    stored: MetaRow,
    pub(super) next_trace: i64,
    pub(super) next_span: i64,
    pub(super) next_event: i64,
    /// Spans in `span_open`.
    pub(super) open: KeySet<OpenKey>,
    /// Ends in `end_waiting`.
    pub(super) waiting: KeySet<WaitingKey>,
    /// Numbers of metric series, by the hash that identifies the series.
    pub(super) series: HashMap<u128, i64>,
    services: HashMap<Arc<str>, i64>,
    own_service: i64,
    /// The same services by number.
    pub(super) services_by_id: Services,
    /// Attributes of finished spans whose block is not sealed yet.
    pub(super) unsealed_blocks: UnsealedBlocks,
    /// The service of spans that name none.
    pub(super) own_name: Arc<str>,
}

selected_columns! {
    /// The only row of `meta`.
    #[derive(Clone, Copy, Debug)]
    struct MetaRow {
        run: i64 = "run",
        batch: i64 = "batch",
        next_trace: i64 = "next_trace",
        next_span: i64 = "next_span",
        next_event: i64 = "next_event",
    }
    const ONLY = "FROM meta";
}

impl FileState {
    /// Reads the state from the file, also that of `unsealed_blocks`.
    pub(super) async fn load(
        db: &mut SqliteConnection,
        service_name: &str,
        unsealed_blocks: UnsealedBlocks,
    ) -> Result<Self, sqlx::Error> {
        let meta = sqlx::query(MetaRow::ONLY).fetch_one(&mut *db).await?;
        let meta: MetaRow = read_row(&meta)?;
        let mut state = Self {
            run: RunId(meta.run.cast_unsigned()),
            batch: meta.batch.cast_unsigned(),
            stored: meta,
            next_trace: meta.next_trace,
            next_span: meta.next_span,
            next_event: meta.next_event,
            open: KeySet::default(),
            waiting: KeySet::default(),
            series: HashMap::new(),
            services: HashMap::new(),
            own_service: service_number(db, service_name, true).await?,
            services_by_id: Services::load(db, service_name).await?,
            unsealed_blocks,
            own_name: service_name.into(),
        };
        state.unsealed_blocks.load(&mut *db, &state.services_by_id, service_name).await?;
        // One more than a set takes: then it knows that it is incomplete.
        let open = sqlx::query("SELECT trace, span_id FROM span_open LIMIT ?").bind(MAX_KEYS + 1);
        for row in open.fetch_all(&mut *db).await? {
            state.open.insert(read_row(&row)?);
        }
        let waiting = sqlx::query("SELECT trace_id, span_id FROM end_waiting LIMIT ?").bind(MAX_KEYS + 1);
        for row in waiting.fetch_all(&mut *db).await? {
            let (trace_id, span_id): (&[u8], i64) = read_row(&row)?;
            state.waiting.insert((trace_id_of(trace_id)?.as_u128(), span_id));
        }
        Ok(state)
    }

    /// Returns true if this batch is stored.
    pub(super) fn has(&self, id: BatchId) -> bool {
        id.run == self.run && id.number <= self.batch
    }

    fn meta(&self, id: BatchId) -> MetaRow {
        MetaRow {
            run: id.run.0.cast_signed(),
            batch: id.number.cast_signed(),
            next_trace: self.next_trace,
            next_span: self.next_span,
            next_event: self.next_event,
        }
    }

    /// Stores the latest batch and the next ids, in the open transaction.
    ///
    /// # Errors
    ///
    /// Returns an error if the row is not as this program left it: another program has written the file, or an earlier
    /// version of the file was put in its place. The transaction must not be committed then.
    pub(super) async fn save(&self, db: &mut SqliteConnection, id: BatchId) -> Result<(), sqlx::Error> {
        let [new, old] = [self.meta(id), self.stored];
        let query = sqlx::query(
            "UPDATE meta SET run = ?, batch = ?, next_trace = ?, next_span = ?, next_event = ? \
             WHERE run = ? AND batch = ? AND next_trace = ? AND next_span = ? AND next_event = ?",
        );
        let values = [new, old]
            .into_iter()
            .flat_map(|row| [row.run, row.batch, row.next_trace, row.next_span, row.next_event]);
        let changed = bulk_statement::run(db, values.fold(query, sqlx::query::Query::bind), |_| {}).await?;
        if changed == 1 { Ok(()) } else { Err(sqlx::Error::Protocol(CHANGED.to_owned())) }
    }

    /// Notes that the transaction of a batch was committed.
    pub(super) fn committed(&mut self, id: BatchId) {
        self.stored = self.meta(id);
        self.run = id.run;
        self.batch = id.number;
        self.unsealed_blocks.remove_sealed();
        if self.series.len() > MAX_SERIES {
            self.series.clear();
        }
        if self.services.len() > MAX_SERIES {
            self.services.clear();
        }
    }

    /// Returns the number of a service that [`FileState::number_services`] has seen.
    pub(super) fn service(&self, name: Option<&Arc<str>>) -> i64 {
        match name {
            None => self.own_service,
            Some(name) => self.services.get(name).copied().unwrap_or(self.own_service),
        }
    }

    /// Assigns a number to each of these services that has none yet.
    pub(super) async fn number_services(
        &mut self,
        db: &mut SqliteConnection,
        names: impl Iterator<Item = &Arc<str>>,
    ) -> Result<(), sqlx::Error> {
        let unknown: HashSet<&Arc<str>> = names.filter(|name| !self.services.contains_key(*name)).collect();
        for name in unknown {
            let id = service_number(db, name, false).await?;
            self.services.insert(Arc::clone(name), id);
            self.services_by_id.insert(id, Arc::clone(name));
        }
        Ok(())
    }

    /// Returns true if an end of this span may wait, by the ids that its events carried.
    pub(super) fn end_may_wait(&self, span: &Span) -> bool {
        !self.waiting.is_empty() && self.waiting.may_contain(&waiting_key(carried_key(span)))
    }
}

/// Returns the number of a service. Adds the service to the file if it is missing.
async fn service_number(db: &mut SqliteConnection, name: &str, local: bool) -> Result<i64, sqlx::Error> {
    let known = sqlx::query_scalar("SELECT id FROM service WHERE name = ? AND local = ?")
        .bind(name)
        .bind(local)
        .fetch_optional(&mut *db)
        .await?;
    if let Some(id) = known {
        return Ok(id);
    }
    sqlx::query_scalar("INSERT INTO service (name, local) VALUES (?, ?) RETURNING id")
        .bind(name)
        .bind(local)
        .fetch_one(db)
        .await
}
