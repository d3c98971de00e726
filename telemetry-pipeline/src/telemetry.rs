//! The door: all that instrumented code holds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastant::Instant;
use telemetry_core::{
    Attributes, Event, EventContext, SignalSet, SpanKind, Submission, Text, TraceStore, Ttl,
};
use tokio::sync::oneshot;

use crate::assembler::AssemblerCounts;
use crate::engine::Request;
use crate::lane::Gate;
use crate::ledger::{Ledger, SinkCounters, SinkState};
use crate::receipt::{Receipt, receipt};
use crate::record::Record;
use crate::{SpanBuilder, SpanContext, SpanGuard, SpanHandle, SubmitError, TraceParent, current_span};

/// The door of the pipeline: a cheap clone, all that instrumented code holds.
///
/// ```
/// use telemetry_core::{Event, Severity, attrs};
/// use telemetry_pipeline::Telemetry;
///
/// let telemetry = Telemetry::disabled(); // or `pipeline.telemetry()`
/// let span = telemetry.span("chat", attrs! { "model_id" => "llama" });
/// span.log(Severity::Info, "prompt received");
/// telemetry.log_event(Event::metric("prompt_tokens", 42, "tokens"));
/// ```
#[derive(Clone, Debug)]
pub struct Telemetry(Option<Arc<Shared>>);

/// What the door shares with the engine.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) gate: Arc<Gate>,
    pub(crate) assembler: Mutex<AssemblerCounts>,
    pub(crate) sinks: Vec<Arc<SinkCounters>>,
    pub(crate) stores: Vec<StoreQueue>,
    pub(crate) store: Option<StoreHandle>,
    pub(crate) service_name: Text,
}

/// How full the queue of a store is.
#[derive(Debug)]
pub(crate) struct StoreQueue {
    pub(crate) counters: Arc<SinkCounters>,
    pub(crate) bytes: Arc<AtomicUsize>,
    pub(crate) max_bytes: usize,
}

pub(crate) struct StoreHandle(pub(crate) Arc<dyn TraceStore>);

impl std::fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TraceStore")
    }
}

/// What became of a flush, for each sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushReport {
    /// Name of the sink, and why it could not flush, if it could not.
    pub sinks: Vec<(String, Result<(), String>)>,
}

impl FlushReport {
    /// Whether every sink has flushed.
    pub fn is_complete(&self) -> bool {
        self.sinks.iter().all(|(_, outcome)| outcome.is_ok())
    }
}

impl Telemetry {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(Some(shared))
    }

    /// A door that leads nowhere: every call is a no-op.
    pub const fn disabled() -> Self {
        Self(None)
    }

    /// Whether there is a pipeline behind it.
    pub const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// The signals that some sink wants.
    pub fn interest(&self) -> SignalSet {
        self.0.as_ref().map_or(SignalSet::NONE, |shared| shared.gate.interest)
    }

    /// The service this process is; may be empty.
    pub fn service_name(&self) -> &str {
        self.0.as_ref().map_or("", |shared| &shared.service_name)
    }

    /// Logs an event. Never blocks; what does not fit is refused and counted. A log or a metric
    /// without a context belongs to the [current span](current_span).
    pub fn log_event(&self, event: Event) {
        self.log_event_with_ttl(event, Ttl::default());
    }

    /// Logs an event that stores keep for `ttl`.
    pub fn log_event_with_ttl(&self, event: Event, ttl: Ttl) {
        let Some(gate) = self.gate() else { return };
        let event = match event.context() {
            EventContext::None => match current_span() {
                Some(span) => event.in_context(EventContext::Span(span)),
                None => event,
            },
            EventContext::Trace(_) | EventContext::Span(_) => event,
        };
        let record = Record::from_event(event, ttl, Instant::now());
        gate.offer(record.payload_bytes(), move || record);
    }

    /// The way to the engine, if some sink wants anything at all.
    fn gate(&self) -> Option<&Arc<Gate>> {
        self.0.as_ref().map(|shared| &shared.gate).filter(|gate| !gate.interest.is_empty())
    }

    /// Submits all of `submissions`, or none. Nothing is filled in; the receipt completes once every
    /// store has committed.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] with the submissions, when the queue or a store is full or the pipeline is closed.
    pub fn submit(&self, submissions: Vec<Submission>) -> Result<Receipt, SubmitError> {
        let Some(shared) = &self.0 else { return Err(SubmitError::Closed(submissions)) };
        let count = submissions.len() as u64;
        let ingest = &shared.gate.ingest;
        if shared.gate.is_closed() {
            ingest.refused_closed.fetch_add(count, Ordering::Relaxed);
            return Err(SubmitError::Closed(submissions));
        }
        let is_full = |store: &StoreQueue| {
            store.counters.state() == SinkState::Running
                && store.bytes.load(Ordering::Relaxed) > store.max_bytes
        };
        if shared.stores.iter().any(is_full) {
            ingest.refused_full.fetch_add(count, Ordering::Relaxed);
            return Err(SubmitError::Full(submissions));
        }
        let (receipt, acks) = receipt(shared.stores.len());
        match shared.gate.request(Request::Submit { submissions, acks }) {
            Ok(()) => Ok(receipt),
            Err(request) => {
                ingest.refused_full.fetch_add(count, Ordering::Relaxed);
                let submissions = match request {
                    Request::Submit { submissions, .. } => submissions,
                    Request::Flush { .. } => Vec::new(),
                };
                Err(SubmitError::Full(submissions))
            }
        }
    }

    /// Starts a span: a child of the [current span](current_span), or the root of a new trace.
    pub fn span(&self, name: impl Into<Text>, attributes: Attributes) -> SpanGuard {
        let parent = SpanContext::current();
        SpanGuard::start(self.gate(), name.into(), SpanKind::Internal, parent, attributes)
    }

    /// Starts a span below `parent`, which may be in another task or thread.
    pub fn span_below(
        &self,
        parent: impl Into<SpanContext>,
        name: impl Into<Text>,
        attributes: Attributes,
    ) -> SpanGuard {
        SpanGuard::start(self.gate(), name.into(), SpanKind::Internal, Some(parent.into()), attributes)
    }

    /// Starts the root of a new trace, whatever the current span is.
    pub fn root_span(&self, name: impl Into<Text>, attributes: Attributes) -> SpanGuard {
        SpanGuard::start(self.gate(), name.into(), SpanKind::Internal, None, attributes)
    }

    /// Continues a trace that another process began: a span below the caller's (W3C Trace Context).
    /// An attribute `tracestate` is the caller's header of that name;
    /// [`SpanGuard::tracestate`] hands it on.
    pub fn continue_trace(
        &self,
        remote: TraceParent,
        name: impl Into<Text>,
        attributes: Attributes,
    ) -> SpanGuard {
        self.span_builder(name, attributes).with_remote_parent(remote).start()
    }

    /// A span with more to say: its kind, another parent.
    pub fn span_builder(&self, name: impl Into<Text>, attributes: Attributes) -> SpanBuilder<'_> {
        SpanBuilder::new(self.gate(), name.into(), attributes)
    }

    /// The span that code on this thread is in, whoever has opened it: its request's, say.
    pub fn current(&self) -> SpanHandle {
        SpanHandle::new(self.gate().cloned(), SpanContext::current())
    }

    /// Waits, at most `within`, until everything logged before is as durable as each sink can make it.
    pub async fn flush(&self, within: Duration) -> FlushReport {
        let Some(shared) = &self.0 else { return FlushReport::default() };
        let (replies, answers): (Vec<_>, Vec<_>) = shared.sinks.iter().map(|_| oneshot::channel()).unzip();
        let mut report = FlushReport::default();
        let pushed = shared.gate.request(Request::Flush { replies }).is_ok();
        let deadline = std::time::Instant::now() + within;
        for (sink, answer) in shared.sinks.iter().zip(answers) {
            let outcome = if pushed { crate::deadline::at(deadline, answer).await } else { None };
            let outcome = match outcome {
                Some(Ok(outcome)) => outcome,
                Some(Err(_)) => Err("the sink is closed or its queue is full".to_owned()),
                None => Err(format!("not within {within:?}")),
            };
            report.sinks.push((sink.name.to_owned(), outcome));
        }
        report
    }

    /// What became of everything logged so far.
    pub fn ledger(&self) -> Ledger {
        let Some(shared) = &self.0 else { return Ledger::default() };
        let mut assembler = *shared.assembler.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ingest = shared.gate.ingest.read();
        assembler.truncated_values += shared.gate.ingest.truncated_values.load(Ordering::Relaxed);
        ingest.accepted = assembler.submissions;
        Ledger { ingest, assembler, sinks: shared.sinks.iter().map(|sink| sink.read()).collect() }
    }

    /// The store of the first sink that gave one.
    pub fn store(&self) -> Option<Arc<dyn TraceStore>> {
        self.0.as_ref()?.store.as_ref().map(|store| Arc::clone(&store.0))
    }
}
