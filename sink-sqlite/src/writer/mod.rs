//! Stores batches, on the only connection that writes.

mod batch_parts;
mod file_state;
mod finished_spans;
mod incomplete_spans;
mod keys;
mod logs_and_points;
mod span_halves;
mod traces;

use std::sync::Arc;
use std::time::Instant;

use sqlx::{Connection as _, Sqlite, SqliteConnection, Transaction};
use telemetry_core::{Batch, BatchId, Recovered, SinkError, Timestamp, Written};
use telemetry_files::{DataFileLock, create_private, create_private_folder};

use crate::checkpoint::Checkpointer;
use crate::config::Config;
use crate::connect::{self, Role};
use crate::deletion_clock::DeletionClock;
use crate::error::{OpenError, write_error};
use crate::files::{self, FileIdentity};
use crate::postings::{self, Tokens, UnsealedBlocks};
use crate::purge;
use crate::schema;
use crate::size_limit;

use batch_parts::BatchPart;
use file_state::FileState;
use finished_spans::FinishedSpans;
use logs_and_points::LogsAndPoints;
use traces::TraceStatements;

/// Stores batches, each in one transaction together with its number.
pub(crate) struct Writer {
    config: Arc<Config>,
    service_name: String,
    db: SqliteConnection,
    file: FileIdentity,
    statements: Statements,
    state: FileState,
    deletion_clock: DeletionClock,
    /// True if a write did not end: `state` may differ from the file.
    stale: bool,
    /// How often another file was found at the path.
    reopened: u64,
    lock: DataFileLock,
}

/// The statements for many rows.
struct Statements {
    traces: TraceStatements,
    finished_spans: FinishedSpans,
    logs_and_points: LogsAndPoints,
}

impl Writer {
    /// Locks the file. Creates it if it is missing: only its owner can read it, as it contains prompts. Returns the
    /// options with the file's own path, without symbolic links, so that its write-ahead log is found beside it.
    pub(crate) fn create_and_lock(mut config: Config) -> Result<(Config, DataFileLock), OpenError> {
        let path = &config.path;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            create_private_folder(folder)
                .map_err(|source| OpenError::Folder { path: folder.to_owned(), source })?;
        }
        config.path =
            create_private(path).map_err(|source| OpenError::Lock { path: path.clone(), source })?;
        let lock = files::lock(&config.path)?;
        Ok((config, lock))
    }

    /// Opens the database for writing and migrates it if it is old.
    pub(crate) async fn open(
        config: Arc<Config>,
        lock: DataFileLock,
        service_name: &str,
    ) -> Result<Self, OpenError> {
        let (db, state, file) = Self::connect(&config, service_name, UnsealedBlocks::default()).await?;
        Ok(Self {
            service_name: service_name.to_owned(),
            db,
            file,
            statements: Statements {
                traces: TraceStatements::new(),
                finished_spans: FinishedSpans::new(),
                logs_and_points: LogsAndPoints::new(),
            },
            state,
            stale: false,
            deletion_clock: DeletionClock::new(config.clock_jump_wait, Timestamp::now(), Instant::now()),
            reopened: 0,
            lock,
            config,
        })
    }

    async fn connect(
        config: &Config,
        service_name: &str,
        unsealed_blocks: UnsealedBlocks,
    ) -> Result<(SqliteConnection, FileState, FileIdentity), OpenError> {
        let path = &config.path;
        let failed = |error| OpenError::from_sqlx(path, error);
        if std::fs::metadata(path).is_ok_and(|file| file.len() > 0) {
            let mut db = connect::open(config, Role::Reader).await.map_err(failed)?;
            schema::check_ours(&mut db, path).await?;
            db.close().await.map_err(failed)?;
        }
        let mut db = connect::open(config, Role::Writer).await.map_err(failed)?;
        schema::migrate(&mut db, path).await?;
        let state = FileState::load(&mut db, service_name, unsealed_blocks).await.map_err(failed)?;
        Ok((db, state, FileIdentity::of(path)))
    }

    /// Marks the spans that an earlier run left open as unfinished. Returns them, with the ends that wait.
    pub(crate) async fn recover(&mut self) -> Result<Recovered, OpenError> {
        let path = self.config.path.clone();
        incomplete_spans::recover(&mut self.db, &self.state.services_by_id)
            .await
            .map_err(|error| OpenError::from_sqlx(&path, error))
    }

    /// Stores a batch completely or not at all. A batch that is stored already is not stored again.
    pub(crate) async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        if batch.is_empty() {
            return Ok(batch.delivered());
        }
        self.refresh().await?;
        if self.state.has(batch.id()) {
            return Ok(batch.delivered());
        }
        let parts = BatchPart::split(batch);
        self.stale = true;
        self.store(batch.id(), &parts).await.map_err(|error| write_error(&self.config.path, error))?;
        self.stale = false;
        self.keep_size(batch.len()).await;
        Ok(batch.delivered())
    }

    /// Deletes the oldest data while the file is larger than its limit, several times as much as a batch of `signals`
    /// brought. So the file stays near the limit however fast writes come, and a batch takes only a little longer.
    async fn keep_size(&mut self, signals: usize) {
        let Some(max_size) = self.config.max_size else { return };
        // Leaves room for the next batch.
        let max_size = max_size - max_size / 8;
        let rows = i64::try_from(signals).unwrap_or(i64::MAX).saturating_mul(2).max(64);
        for _ in 0..4 {
            let excess = size_limit::excess(&mut self.db, max_size).await;
            if matches!(excess, Ok(0)) {
                return;
            }
            // The batch is stored. If this fails, the next batch or the next purge tries again.
            if excess.is_err() || self.purge(rows, Some(max_size)).await.is_err() {
                self.stale = true;
                return;
            }
        }
    }

    /// Reads the state from the file again after an error or a write that was dropped. Opens the file again if it was
    /// deleted or replaced.
    async fn refresh(&mut self) -> Result<(), SinkError> {
        if self.file != FileIdentity::of(&self.config.path) {
            tracing::error!(
                path = %self.config.path.display(),
                "the database file was deleted or replaced while in use; opening the file that is there now"
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

    /// Reads the state from the file again on the present connection. Fails if that connection can't be used.
    async fn reload(&mut self) -> Result<FileState, sqlx::Error> {
        // When the disk is full, SQLite ends a transaction by itself. sqlx does not learn of it, fails to end the
        // transaction and never begins another. This finds out before anything is read.
        self.db.begin_with("BEGIN").await?.rollback().await?;
        let unsealed_blocks = self.unsealed_blocks();
        FileState::load(&mut self.db, &self.service_name, unsealed_blocks).await
    }

    /// Opens the file at the path again.
    async fn reopen(&mut self) -> Result<(), SinkError> {
        self.stale = true;
        if !self.lock.is_on(&self.config.path) {
            let (_, lock) = Self::create_and_lock(Config::clone(&self.config))
                .map_err(|error| SinkError::retry("the database can't be opened again").source(error))?;
            self.lock = lock;
        }
        let (db, state, file) = Self::connect(&self.config, &self.service_name, self.unsealed_blocks())
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
        if self.file != file {
            self.file = file;
            self.reopened += 1;
        }
        Ok(())
    }

    /// Stores a batch in one transaction.
    async fn store(&mut self, id: BatchId, parts: &[BatchPart<'_>]) -> Result<(), sqlx::Error> {
        let Self { db, statements, state, .. } = self;
        let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
        let db = &mut *transaction;
        let Statements { traces, finished_spans, logs_and_points } = statements;
        for part in parts {
            state.number_services(db, part.service_names()).await?;
            let mut traces = traces.upsert(db, part, state).await?;
            incomplete_spans::store(db, finished_spans, part, &mut traces, state).await?;
            let repeated = finished_spans.store(db, part, &mut traces, state).await?;
            incomplete_spans::store_ends(db, finished_spans, part, &mut traces, state).await?;
            logs_and_points.store(db, part, &traces, &repeated, state).await?;
            traces::recompute(db, &traces).await?;
        }
        state.save(db, id).await?;
        transaction.commit().await?;
        state.committed(id);
        Ok(())
    }

    /// Returns the blocks whose postings are not on disk yet, for this program's readers.
    pub(crate) fn unsealed_blocks(&self) -> UnsealedBlocks {
        self.state.unsealed_blocks.clone()
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

    /// Returns how often another file was found at the path. Connections that are older read an earlier file.
    pub(crate) const fn reopened(&self) -> u64 {
        self.reopened
    }

    /// Keeps the write-ahead log from growing without limit.
    pub(crate) async fn bound_log(&mut self, checkpointer: &Checkpointer) {
        checkpointer.bound_log(&mut self.db).await;
    }

    /// Copies the write-ahead log into the database and empties it, so that the database is complete without the log.
    pub(crate) async fn finish(&mut self) -> Result<(), SinkError> {
        let done = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.db).await;
        done.map(drop).map_err(|error| write_error(&self.config.path, error))
    }

    /// Deletes about `rows` rows that have expired or are too many. Returns true if there may be more to do.
    pub(crate) async fn purge_step(&mut self, rows: i64) -> Result<bool, SinkError> {
        self.purge(rows, self.config.max_size).await
    }

    async fn purge(&mut self, rows: i64, max_size: Option<u64>) -> Result<bool, SinkError> {
        self.refresh().await?;
        self.stale = true;
        let now = self.deletion_clock.now(Timestamp::now(), Instant::now());
        let step = purge::step(&mut self.db, now, rows, max_size).await;
        if step.as_ref().is_ok_and(|step| step.deleted_series) {
            // A number in memory may be that of a series that is gone.
            self.state.series.clear();
        }
        // A purge deletes nothing else that the state depends on, so only a purge that failed makes it stale.
        self.stale = step.is_err();
        step.map(|step| step.more).map_err(|error| write_error(&self.config.path, error))
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("path", &self.config.path).finish_non_exhaustive()
    }
}
