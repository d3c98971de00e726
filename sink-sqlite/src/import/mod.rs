//! Imports a database that the reference implementation wrote.
//!
//! A span and its events are stored in one transaction. If a span is stored, its events are stored too. What was
//! imported before, also by an import that was killed, is found by its ids and not stored again.

mod already_stored;
mod convert;
mod python_json;
mod report;
mod source;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use telemetry_core::{
    Action, Batch, BatchId, Chunk, EventContext, RunId, Signal, SignalSet, Sink, SinkError, SpanKey,
    Timestamp,
};

use crate::config::Config;
use crate::sink;
use already_stored::AlreadyStored;
use convert::{Converted, Converter};
use source::{ReadEvent, Source, SpanRow, UnreadableRow};

pub use report::{ImportError, ImportEvent, ImportReport};

/// Spans per transaction.
const PAGE: i64 = 1_000;
/// How often a transaction that may succeed later is tried, at most.
const TRIES: u32 = 5;

/// Imports the traces of `source`, which Llama Stack's SQLite store wrote, into the store at `config.path`.
///
/// Ids, times, attributes and statuses stay as they are. Each row expires seven days from now, or later if its attribute
/// `__ttl__` asks for it. `watch` is called with the progress and with every row that can't be stored.
///
/// # Errors
///
/// Returns an [`ImportError`] if the source can't be read or the store can't be written.
pub async fn import(
    config: Config,
    source: &Path,
    watch: &mut (dyn FnMut(ImportEvent) + Send),
) -> Result<ImportReport, ImportError> {
    let source = Source::open(source).await?;
    let now = Timestamp::now();
    let config = Arc::new(config);
    let sink = sink::open(Config::clone(&config), "").await.map_err(ImportError::Store)?.sink;
    let already_stored = AlreadyStored::open(&config, now).await.map_err(ImportError::Store)?;
    let mut import = Import {
        source,
        target: Target { sink, run: RunId(now.as_nanos().cast_unsigned()), batch: 0 },
        already_stored,
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
    already_stored: AlreadyStored,
    converter: Converter,
    report: ImportReport,
    watch: &'a mut (dyn FnMut(ImportEvent) + Send),
}

/// The store that the import writes.
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
            after = last.as_ref().map_or_else(|row| row.row, |row| row.row);
            self.page(spans).await?;
        }
        self.traces_without_spans().await?;
        self.events_without_spans().await
    }

    /// Stores those of some spans that are not stored yet, with their events.
    async fn page(&mut self, rows: Vec<Result<SpanRow, UnreadableRow>>) -> Result<(), ImportError> {
        let mut spans = Vec::new();
        // Ids of spans that can't be stored, and what their events belong to then.
        let mut rejected = Vec::new();
        let mut seen = HashSet::new();
        let read = rows.len() as u64;
        for row in rows {
            let row = match row {
                Ok(row) => row,
                Err(UnreadableRow { row, span_id, reason }) => {
                    self.skip("spans", row, reason);
                    rejected.push((span_id, EventContext::None));
                    continue;
                }
            };
            match self.converter.span(&row) {
                Ok(span) if seen.insert(span.key()) => spans.push((row, span)),
                Ok(span) => self.skip("spans", row.row, format!("the file has span {} twice", span.span_id)),
                Err(reason) => {
                    self.skip("spans", row.row, reason);
                    let context = convert::context_of(&row);
                    rejected.push((row.span_id, context));
                }
            }
        }
        let keys: Vec<SpanKey> = spans.iter().map(|(_, span)| span.key()).collect();
        let stored = self.already_stored.spans(&keys).await.map_err(ImportError::Store)?;
        let names: Vec<&str> = spans.iter().filter_map(|(row, _)| row.span_id.as_deref()).collect();
        let mut events = self.source.events_of(&names).await?;
        let mut done = read;
        let mut signals = Vec::new();
        for (row, span) in spans {
            let own = row.span_id.as_ref().and_then(|id| events.remove(id)).unwrap_or_default();
            done += own.len() as u64;
            if stored.contains(&span.key()) {
                self.report.already_there += 1 + own.len() as u64;
                continue;
            }
            for event in own {
                let context = EventContext::Span(span.key());
                if let Some(converted) = self.convert_event(event, context, span.service_name.clone()) {
                    self.count(&mut signals, converted);
                }
            }
            self.report.spans += 1;
            signals.push(Signal::SpanEnded(Arc::new(span)));
        }
        self.target.write(signals).await.map_err(ImportError::Store)?;
        for (span_id, context) in rejected {
            let Some(id) = span_id else { continue };
            let events = self.source.events_of(&[&id]).await?.remove(&id).unwrap_or_default();
            done += events.len() as u64;
            self.events_of_no_span(events, context).await?;
        }
        (self.watch)(ImportEvent::Done(done));
        Ok(())
    }

    /// Skips the traces without spans: no query could show them.
    async fn traces_without_spans(&mut self) -> Result<(), ImportError> {
        for row in self.source.traces_without_spans().await? {
            self.skip("traces", row, "it has no spans".to_owned());
        }
        Ok(())
    }

    /// Stores the events whose span is not in the file.
    async fn events_without_spans(&mut self) -> Result<(), ImportError> {
        let mut after = 0;
        loop {
            let events = self.source.events_without_spans(after, PAGE).await?;
            if events.is_empty() {
                return Ok(());
            }
            let done = events.len() as u64;
            after += done.cast_signed();
            self.events_of_no_span(events, EventContext::None).await?;
            (self.watch)(ImportEvent::Done(done));
        }
    }

    /// Stores events whose span is not stored, except those for which an equal event is stored already.
    async fn events_of_no_span(
        &mut self,
        events: Vec<ReadEvent>,
        context: EventContext,
    ) -> Result<(), ImportError> {
        let mut signals = Vec::new();
        for event in events {
            let Some(converted) = self.convert_event(event, context, None) else { continue };
            if self.already_stored.has(&converted).await.map_err(ImportError::Store)? {
                self.report.already_there += 1;
            } else {
                self.count(&mut signals, converted);
            }
        }
        self.target.write(signals).await.map_err(ImportError::Store)
    }

    /// Converts an event, or skips it.
    fn convert_event(
        &mut self,
        event: ReadEvent,
        context: EventContext,
        service_name: Option<Arc<str>>,
    ) -> Option<Converted> {
        let (row, reason) = match event {
            Ok(event) => match self.converter.event(&event, context, service_name) {
                Ok(converted) => return Some(converted),
                Err(reason) => (event.row, reason),
            },
            Err(UnreadableRow { row, reason, .. }) => (row, reason),
        };
        self.skip("span_events", row, reason);
        None
    }

    /// Adds an event to the signals, and counts it.
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

    /// Counts and reports a row that can't be stored.
    fn skip(&mut self, table: &'static str, row: i64, reason: String) {
        self.report.skipped += 1;
        (self.watch)(ImportEvent::Skipped { table, row, reason });
    }
}

impl Target {
    /// Stores signals in one transaction. Tries again for a while if the store can't be written now.
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
