//! Brings in a database that the reference implementation wrote.
//!
//! A span and its events are stored in one transaction, so a span that is there has its events with
//! it: whatever was imported before, also by an import that was killed, is recognised by its ids and
//! not stored again.

mod convert;
mod json;
mod known;
mod source;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use telemetry_core::{
    Action, Batch, BatchId, Chunk, EventContext, RunId, Signal, SignalSet, Sink, SinkError, SpanKey,
    Timestamp,
};

use crate::config::Config;
use convert::{Converted, Converter};
use known::Known;
use source::{EventRow, Source, SpanRow};

/// Spans per transaction.
const PAGE: i64 = 1_000;
/// How often a transaction that may succeed later is tried.
const TRIES: u32 = 5;

/// What an import tells while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportEvent {
    /// How many rows there are: spans and their events.
    Total(u64),
    /// So many rows more are done.
    Done(u64),
    /// A row that can't be stored.
    Skipped {
        /// The table it is in.
        table: &'static str,
        /// Its rowid there.
        row: i64,
        /// What is wrong with it.
        reason: String,
    },
}

/// What an import brought in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Spans stored now.
    pub spans: u64,
    /// Logs and span events stored now.
    pub logs: u64,
    /// Measurements stored now.
    pub metrics: u64,
    /// Rows that were there before, by their ids.
    pub already_there: u64,
    /// Rows that can't be stored.
    pub skipped: u64,
}

/// Why an import ended early. What it stored before is kept; it goes on where it stopped when it is run again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file can't be read.
    #[error("can't read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// The file is there, but Llama Stack did not write it.
    #[error("`{}` is no trace store of Llama Stack: {found}", path.display())]
    NotReference {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: &'static str,
    },
    /// The store can't take it.
    #[error("can't store what was read")]
    Store(#[source] SinkError),
}

/// Brings the traces of `source`, which Llama Stack's SQLite store wrote, into the store at `config.path`.
///
/// Ids, times, attributes and statuses come in as they are. Each row is kept for seven days from now, or longer
/// if its `__ttl__` says so. `watch` is told of the progress and of every row
/// that can't be stored.
///
/// # Errors
///
/// An [`ImportError`]: a source that can't be read, or a store that can't be written.
pub async fn import(
    config: Config,
    source: &Path,
    watch: &mut (dyn FnMut(ImportEvent) + Send),
) -> Result<ImportReport, ImportError> {
    let reading = Source::open(source).await?;
    let now = Timestamp::now();
    let config = Arc::new(config);
    let sink = crate::open(Config::clone(&config), "").await.map_err(ImportError::Store)?.sink;
    let known = Known::open(&config, now).await.map_err(ImportError::Store)?;
    let mut import = Import {
        source: reading,
        target: Target { sink, run: RunId(now.as_nanos().cast_unsigned()), batch: 0 },
        known,
        converter: Converter::new(now),
        report: ImportReport::default(),
        watch,
    };
    let outcome = import.run().await;
    let Import { target, report, .. } = import;
    let ended = target.sink.shutdown().await.map_err(ImportError::Store);
    outcome.and(ended).map(|()| report)
}

struct Import<'a> {
    source: Source,
    target: Target,
    known: Known,
    converter: Converter,
    report: ImportReport,
    watch: &'a mut (dyn FnMut(ImportEvent) + Send),
}

/// The store that is written.
struct Target {
    sink: Box<dyn Sink>,
    run: RunId,
    batch: u64,
}

impl Import<'_> {
    async fn run(&mut self) -> Result<(), ImportError> {
        let total = self.source.prepare().await?;
        (self.watch)(ImportEvent::Total(total));
        let mut after = i64::MIN;
        loop {
            let spans = self.source.spans(after, PAGE).await?;
            let Some(last) = spans.last() else { break };
            after = last.row;
            self.page(spans).await?;
        }
        self.traces_without_spans().await?;
        self.events_without_spans().await
    }

    /// Stores some spans with their events, those that are not there yet.
    async fn page(&mut self, rows: Vec<SpanRow>) -> Result<(), ImportError> {
        let mut spans = Vec::new();
        let mut broken = Vec::new();
        let mut taken = std::collections::HashSet::new();
        let read = rows.len() as u64;
        for row in rows {
            match self.converter.span(&row) {
                Ok(span) if taken.insert(span.key()) => spans.push((row, span)),
                Ok(span) => self.skip("spans", row.row, format!("span {} comes twice", span.span_id)),
                Err(reason) => {
                    self.skip("spans", row.row, reason);
                    broken.push(row);
                }
            }
        }
        let keys: Vec<SpanKey> = spans.iter().map(|(_, span)| span.key()).collect();
        let there = self.known.spans(&keys).await.map_err(ImportError::Store)?;
        let names: Vec<&str> = spans.iter().filter_map(|(row, _)| row.span_id.as_deref()).collect();
        let mut events = self.source.events_of(&names).await?;
        let mut done = read;
        let mut signals = Vec::new();
        for (row, span) in spans {
            let own = row.span_id.as_ref().and_then(|id| events.remove(id)).unwrap_or_default();
            done += own.len() as u64;
            if there.contains(&span.key()) {
                self.report.already_there += 1 + own.len() as u64;
                continue;
            }
            for event in own {
                match self.converter.event(&event, EventContext::Span(span.key()), span.service_name.clone())
                {
                    Ok(converted) => self.count(&mut signals, converted),
                    Err(reason) => self.skip("span_events", event.row, reason),
                }
            }
            self.report.spans += 1;
            signals.push(Signal::SpanEnded(Arc::new(span)));
        }
        self.target.write(signals).await.map_err(ImportError::Store)?;
        for row in broken {
            let Some(id) = &row.span_id else { continue };
            let events = self.source.events_of(&[id]).await?.remove(id).unwrap_or_default();
            done += events.len() as u64;
            let context = convert::context_of(&row);
            self.loose_events(events, context).await?;
        }
        (self.watch)(ImportEvent::Done(done));
        Ok(())
    }

    /// A trace without spans says nothing that could be asked for.
    async fn traces_without_spans(&mut self) -> Result<(), ImportError> {
        for row in self.source.traces_without_spans().await? {
            self.skip("traces", row, "it has no spans".to_owned());
        }
        Ok(())
    }

    /// Events whose span is not in the file.
    async fn events_without_spans(&mut self) -> Result<(), ImportError> {
        let mut after = 0;
        loop {
            let events = self.source.events_without_spans(after, PAGE).await?;
            if events.is_empty() {
                return Ok(());
            }
            let done = events.len() as u64;
            after += done.cast_signed();
            self.loose_events(events, EventContext::None).await?;
            (self.watch)(ImportEvent::Done(done));
        }
    }

    /// Stores events that no stored span vouches for: one by one, unless the same is there.
    async fn loose_events(
        &mut self,
        events: Vec<EventRow>,
        context: EventContext,
    ) -> Result<(), ImportError> {
        let mut signals = Vec::new();
        for event in events {
            let converted = match self.converter.event(&event, context, None) {
                Ok(converted) => converted,
                Err(reason) => {
                    self.skip("span_events", event.row, reason);
                    continue;
                }
            };
            if self.known.has(&converted).await.map_err(ImportError::Store)? {
                self.report.already_there += 1;
            } else {
                self.count(&mut signals, converted);
            }
        }
        self.target.write(signals).await.map_err(ImportError::Store)
    }

    fn count(&mut self, signals: &mut Vec<Signal>, converted: Converted) {
        signals.push(match converted {
            Converted::Log(log) => {
                self.report.logs += 1;
                Signal::Log(Arc::new(log))
            }
            Converted::Metric(point) => {
                self.report.metrics += 1;
                Signal::Metric(Arc::new(point))
            }
        });
    }

    fn skip(&mut self, table: &'static str, row: i64, reason: String) {
        self.report.skipped += 1;
        (self.watch)(ImportEvent::Skipped { table, row, reason });
    }
}

impl Target {
    /// Stores signals in one transaction.
    async fn write(&mut self, signals: Vec<Signal>) -> Result<(), SinkError> {
        self.batch += 1;
        let id = BatchId { run: self.run, number: self.batch };
        let chunks = [Arc::new(Chunk::new(signals))];
        let batch = Batch::new(id, &chunks, SignalSet::ALL, 0);
        let mut wait = Duration::from_millis(100);
        for _ in 1..TRIES {
            match self.sink.write(&batch).await {
                Ok(_) => return Ok(()),
                Err(error) if matches!(error.action(), Action::Retry { .. }) => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                Err(error) => return Err(error),
            }
        }
        self.sink.write(&batch).await.map(drop)
    }
}
