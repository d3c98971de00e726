//! What the writer keeps in memory of the file, so that the common case asks the file nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::{Row, SqliteConnection};
use telemetry_core::{BatchId, RunId, SpanKey};

use super::plan::Plan;
use crate::postings::OpenBlocks;
use crate::rows::{span_id_bits, trace_id_of};
use crate::services::Services;
use crate::statement;

/// Keys held in memory at most. Beyond it every span is looked for in the file.
const MAX_KEYS: usize = 1 << 18;
/// Series whose number is held in memory at most.
const MAX_SERIES: usize = 1 << 16;

/// Agrees with the file between batches. Changed while a batch is stored; thrown away if that fails.
pub(super) struct State {
    run: RunId,
    batch: u64,
    pub(super) next_trace: i64,
    pub(super) next_span: i64,
    pub(super) next_event: i64,
    /// Spans in `span_open`.
    pub(super) open: Keys<(i64, i64)>,
    /// Ends in `end_waiting`.
    pub(super) waiting: Keys<(u128, i64)>,
    pub(super) series: HashMap<u128, i64>,
    services: HashMap<Arc<str>, i64>,
    own_service: i64,
    /// The same services by number.
    pub(super) services_by_id: Services,
    /// Attributes of finished spans that are in no posting block yet.
    pub(super) open_blocks: OpenBlocks,
    /// The service of spans without one.
    pub(super) own_name: Arc<str>,
}

/// A set that, when it gets too large, turns into "maybe".
#[derive(Debug, Default)]
pub(super) struct Keys<K> {
    keys: HashSet<K>,
    overflow: bool,
}

impl<K: Eq + std::hash::Hash> Keys<K> {
    pub(super) fn may_contain(&self, key: &K) -> bool {
        self.overflow || self.keys.contains(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.overflow && self.keys.is_empty()
    }

    pub(super) fn insert(&mut self, key: K) {
        if self.keys.len() < MAX_KEYS {
            self.keys.insert(key);
        } else {
            self.overflow = true;
        }
    }

    pub(super) fn remove(&mut self, key: &K) {
        self.keys.remove(key);
    }
}

impl State {
    /// Reads the file. `open_blocks` becomes what the file has.
    pub(super) async fn load(
        db: &mut SqliteConnection,
        service_name: &str,
        open_blocks: OpenBlocks,
    ) -> Result<Self, sqlx::Error> {
        let meta = sqlx::query("SELECT run, batch, next_trace, next_span, next_event FROM meta")
            .fetch_one(&mut *db)
            .await?;
        let mut state = Self {
            run: RunId(meta.try_get::<i64, _>(0)?.cast_unsigned()),
            batch: meta.try_get::<i64, _>(1)?.cast_unsigned(),
            next_trace: meta.try_get(2)?,
            next_span: meta.try_get(3)?,
            next_event: meta.try_get(4)?,
            open: Keys::default(),
            waiting: Keys::default(),
            series: HashMap::new(),
            services: HashMap::new(),
            own_service: service_number(db, service_name, true).await?,
            services_by_id: Services::load(db, service_name).await?,
            open_blocks,
            own_name: service_name.into(),
        };
        state.open_blocks.load(&mut *db, &state.services_by_id, service_name).await?;
        for row in
            sqlx::query("SELECT trace, span_id FROM span_open LIMIT 262145").fetch_all(&mut *db).await?
        {
            state.open.insert((row.try_get(0)?, row.try_get(1)?));
        }
        let waiting = "SELECT trace_id, span_id FROM end_waiting LIMIT 262145";
        for row in sqlx::query(waiting).fetch_all(&mut *db).await? {
            state.waiting.insert((trace_id_of(row.try_get(0)?)?.as_u128(), row.try_get(1)?));
        }
        Ok(state)
    }

    /// Whether this batch is stored.
    pub(super) fn has(&self, id: BatchId) -> bool {
        id.run == self.run && id.number <= self.batch
    }

    /// Writes what later runs must know into the transaction.
    pub(super) async fn save(&self, db: &mut SqliteConnection, id: BatchId) -> Result<(), sqlx::Error> {
        let query =
            sqlx::query("UPDATE meta SET run = ?, batch = ?, next_trace = ?, next_span = ?, next_event = ?")
                .bind(id.run.0.cast_signed())
                .bind(id.number.cast_signed())
                .bind(self.next_trace)
                .bind(self.next_span)
                .bind(self.next_event);
        statement::run(db, query, |_| {}).await.map(drop)
    }

    /// The transaction is committed.
    pub(super) fn committed(&mut self, id: BatchId) {
        self.run = id.run;
        self.batch = id.number;
        self.open_blocks.committed();
        if self.series.len() > MAX_SERIES {
            self.series.clear();
        }
        if self.services.len() > MAX_SERIES {
            self.services.clear();
        }
    }

    /// The number of a service that [`State::learn_services`] has seen.
    pub(super) fn service(&self, name: Option<&Arc<str>>) -> i64 {
        match name {
            None => self.own_service,
            Some(name) => self.services.get(name).copied().unwrap_or(self.own_service),
        }
    }

    fn unknown_services(&self, plan: &Plan<'_>) -> HashSet<Arc<str>> {
        let spans = plan.finished.iter().chain(&plan.open).map(|(_, span)| &span.service_name);
        let logs = plan.logs.iter().map(|(_, _, log)| &log.service_name);
        let points = plan.points.iter().map(|(_, _, point)| &point.service_name);
        let names = spans.chain(logs).chain(points).flatten();
        names.filter(|name| !self.services.contains_key(*name)).cloned().collect()
    }

    /// Gives every service of the batch a number.
    pub(super) async fn learn_services(
        &mut self,
        db: &mut SqliteConnection,
        plan: &Plan<'_>,
    ) -> Result<(), sqlx::Error> {
        for name in self.unknown_services(plan) {
            let id = service_number(db, &name, false).await?;
            self.services.insert(Arc::clone(&name), id);
            self.services_by_id.insert(id, name);
        }
        Ok(())
    }

    /// Whether an end of this span may be waiting under the ids its events carried.
    pub(super) fn may_wait(&self, span: &telemetry_core::Span) -> bool {
        !self.waiting.is_empty() && self.waiting.may_contain(&waiting_key(carried_key(span)))
    }
}

/// The ids under which a span's events came.
pub(super) fn carried_key(span: &telemetry_core::Span) -> SpanKey {
    SpanKey::new(span.submitted_trace_id.unwrap_or(span.trace_id), span.span_id)
}

pub(super) fn waiting_key(key: SpanKey) -> (u128, i64) {
    (key.trace_id.as_u128(), span_id_bits(key.span_id))
}

async fn service_number(db: &mut SqliteConnection, name: &str, local: bool) -> Result<i64, sqlx::Error> {
    let known = sqlx::query("SELECT id FROM service WHERE name = ? AND local = ?")
        .bind(name)
        .bind(local)
        .fetch_optional(&mut *db)
        .await?;
    if let Some(row) = known {
        return row.try_get(0);
    }
    let made = sqlx::query("INSERT INTO service (name, local) VALUES (?, ?) RETURNING id")
        .bind(name)
        .bind(local)
        .fetch_one(db)
        .await?;
    made.try_get(0)
}
