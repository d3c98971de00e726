//! The one connection that writes.

mod events;
mod join;
mod open;
mod plan;
mod spans;
mod state;
mod traces;

use std::sync::Arc;

use sqlx::{Connection as _, Sqlite, SqliteConnection, Transaction};
use telemetry_core::{Batch, BatchId, Recovered, SinkError, Timestamp, Written};

use crate::checkpoint::Checkpointer;
use crate::connect::{self, Role};
use crate::error::write_error;
use crate::identity::FileIdentity;
use crate::lock::WriterLock;
use crate::postings::{self, OpenBlocks, Tokens};
use crate::purge;
use crate::schema;
use crate::{Config, OpenError};

use plan::Plan;
use state::State;

/// Stores batches, each in one transaction with its number.
pub(crate) struct Writer {
    config: Arc<Config>,
    service_name: String,
    db: SqliteConnection,
    identity: FileIdentity,
    statements: Statements,
    state: State,
    /// The last write ended in the middle: what is in memory may not be what is in the file.
    stale: bool,
    /// How often another file was found at the path.
    reopened: u64,
    _lock: WriterLock,
}

/// Every statement for many rows.
struct Statements {
    traces: traces::Statements,
    spans: spans::Statements,
    events: events::Statements,
}

impl Writer {
    /// Opens the database for writing; creates it if it is missing, migrates it if it is old.
    pub(crate) async fn open(config: Arc<Config>, service_name: &str) -> Result<Self, OpenError> {
        let path = &config.path;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|source| OpenError::Folder { path: folder.to_owned(), source })?;
        }
        let lock = WriterLock::take(path)?;
        let (db, state, identity) = Self::connect(&config, service_name, OpenBlocks::default()).await?;
        Ok(Self {
            service_name: service_name.to_owned(),
            db,
            identity,
            statements: Statements {
                traces: traces::Statements::new(),
                spans: spans::Statements::new(),
                events: events::Statements::new(),
            },
            state,
            stale: false,
            reopened: 0,
            _lock: lock,
            config,
        })
    }

    async fn connect(
        config: &Config,
        service_name: &str,
        open_blocks: OpenBlocks,
    ) -> Result<(SqliteConnection, State, FileIdentity), OpenError> {
        let path = &config.path;
        let failed = |error| OpenError::from_sqlx(path, error);
        if std::fs::metadata(path).is_ok_and(|file| file.len() > 0) {
            let mut db = connect::open(config, Role::Reader).await.map_err(failed)?;
            schema::admit(&mut db, path).await?;
            db.close().await.map_err(failed)?;
        }
        let mut db = connect::open(config, Role::Writer).await.map_err(failed)?;
        schema::migrate(&mut db, path).await?;
        let state = State::load(&mut db, service_name, open_blocks).await.map_err(failed)?;
        Ok((db, state, FileIdentity::of(path)))
    }

    /// Marks what an earlier run left open, and gives it.
    pub(crate) async fn recover(&mut self) -> Result<Recovered, OpenError> {
        let path = self.config.path.clone();
        open::recover(&mut self.db, &self.state.services_by_id)
            .await
            .map_err(|error| OpenError::from_sqlx(&path, error))
    }

    /// Stores a batch whole or not at all. A batch that is stored already is not stored again.
    pub(crate) async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        if batch.is_empty() {
            return Ok(batch.delivered());
        }
        self.refresh().await?;
        if self.state.has(batch.id()) {
            return Ok(batch.delivered());
        }
        let plans = Plan::of(batch);
        self.stale = true;
        self.store(batch.id(), &plans).await.map_err(|error| write_error(&self.config.path, error))?;
        self.stale = false;
        Ok(batch.delivered())
    }

    /// Makes what is in memory agree with the file again, after an error or a write that was dropped,
    /// and notices a file that was deleted or replaced.
    async fn refresh(&mut self) -> Result<(), SinkError> {
        if self.identity != FileIdentity::of(&self.config.path) {
            tracing::error!(
                path = %self.config.path.display(),
                "the database file was deleted or replaced while in use; opening what is there now"
            );
            return self.reopen().await;
        }
        if !self.stale {
            return Ok(());
        }
        match self.reload().await {
            Ok(state) => {
                self.state = state;
                self.stale = false;
                Ok(())
            }
            Err(_) => self.reopen().await,
        }
    }

    /// Reads the file anew, on the connection there is if that still works.
    async fn reload(&mut self) -> Result<State, sqlx::Error> {
        // Where the disk is full SQLite ends a transaction by itself. sqlx does not learn of it, fails to end
        // it, and never begins another: seen here, before anything is asked.
        self.db.begin_with("BEGIN").await?.rollback().await?;
        let open_blocks = self.open_blocks();
        State::load(&mut self.db, &self.service_name, open_blocks).await
    }

    async fn reopen(&mut self) -> Result<(), SinkError> {
        self.stale = true;
        let (db, state, identity) = Self::connect(&self.config, &self.service_name, self.open_blocks())
            .await
            .map_err(|error| match error {
                OpenError::Corrupt { .. } | OpenError::Newer { .. } | OpenError::Foreign { .. } => {
                    SinkError::close("the database can't be opened again").source(error)
                }
                error => SinkError::retry("the database can't be opened again").source(error),
            })?;
        self.db = db;
        self.state = state;
        self.stale = false;
        if self.identity != identity {
            self.identity = identity;
            self.reopened += 1;
        }
        Ok(())
    }

    async fn store(&mut self, id: BatchId, plans: &[Plan<'_>]) -> Result<(), sqlx::Error> {
        let Self { db, statements, state, .. } = self;
        let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
        let db = &mut *transaction;
        for plan in plans {
            state.learn_services(db, plan).await?;
            let mut traces = statements.traces.upsert(db, plan, state).await?;
            open::store(db, &statements.spans, plan, &mut traces, state).await?;
            let repeated = statements.spans.store_finished(db, plan, &mut traces, state).await?;
            open::store_waiting(db, &statements.spans, plan, &mut traces, state).await?;
            statements.events.store(db, plan, &traces, &repeated, state).await?;
            traces::recompute(db, &traces).await?;
        }
        state.save(db, id).await?;
        transaction.commit().await?;
        state.committed(id);
        Ok(())
    }

    /// What is in no posting on disk yet, for this program's readers.
    pub(crate) fn open_blocks(&self) -> OpenBlocks {
        self.state.open_blocks.clone()
    }

    /// Writes the postings of a full block.
    pub(crate) async fn seal(&mut self, block: i64, tokens: Tokens) -> Result<(), SinkError> {
        self.refresh().await?;
        let sealing = async {
            let mut transaction: Transaction<'_, Sqlite> = self.db.begin_with("BEGIN IMMEDIATE").await?;
            postings::seal(&mut transaction, block, tokens).await?;
            transaction.commit().await
        };
        sealing.await.map_err(|error| write_error(&self.config.path, error))
    }

    /// How often another file was found at the path: connections made before are of the one before.
    pub(crate) const fn reopened(&self) -> u64 {
        self.reopened
    }

    /// Keeps the write-ahead log from growing without end.
    pub(crate) async fn bound_log(&mut self, checkpointer: &Checkpointer) {
        checkpointer.bound(&mut self.db).await;
    }

    /// Copies the write-ahead log into the database and truncates it: the file is whole by itself.
    pub(crate) async fn finish(&mut self) -> Result<(), SinkError> {
        let done = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.db).await;
        done.map(drop).map_err(|error| write_error(&self.config.path, error))
    }

    /// Deletes about `rows` rows of what has expired or is too much; says whether there may be more.
    pub(crate) async fn purge_step(&mut self, now: Timestamp, rows: i64) -> Result<bool, SinkError> {
        self.refresh().await?;
        self.stale = true;
        let max_size = self.config.max_size;
        let more = purge::step(&mut self.db, now, rows, max_size).await;
        // What is in memory is not about what a purge deletes: it is right unless the purge failed.
        self.stale = more.is_err();
        more.map_err(|error| write_error(&self.config.path, error))
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("path", &self.config.path).finish_non_exhaustive()
    }
}
