//! The handle that instrumented code uses.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastant::Instant;
use telemetry_core::{
    Attributes, Event, EventContext, SignalSet, SpanKind, Submission, Text, TraceStore, Ttl,
};
use tokio::sync::oneshot;

use crate::accounting::{AssemblerCounts, Ledger, Receipt, SinkCounters, receipt};
use crate::deadline;
use crate::error::SubmitError;
use crate::queue::{Queue, Record, Request};
use crate::span::{SpanBuilder, SpanContext, SpanGuard, SpanHandle, current_span};
use crate::traceparent::TraceParent;
use crate::worker::StoreQueue;

/// The handle that instrumented code uses. It is a cheap clone.
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

/// What all handles of a pipeline share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) queue: Arc<Queue>,
    pub(crate) assembler: Arc<Mutex<AssemblerCounts>>,
    pub(crate) sinks: Vec<Arc<SinkCounters>>,
    pub(crate) stores: Vec<StoreQueue>,
    pub(crate) store: Option<StoreHandle>,
    pub(crate) service_name: Text,
    pub(crate) max_attributes: usize,
}

pub(crate) struct StoreHandle(pub(crate) Arc<dyn TraceStore>);

impl std::fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TraceStore")
    }
}

/// The result of a flush, for each sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushReport {
    /// Name of the sink, and the error if it could not flush.
    pub sinks: Vec<(String, Result<(), String>)>,
}

impl FlushReport {
    /// Returns true if every sink has flushed.
    pub fn is_complete(&self) -> bool {
        self.sinks.iter().all(|(_, outcome)| outcome.is_ok())
    }
}

impl Telemetry {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(Some(shared))
    }

    /// Returns a handle without a pipeline, on which every call does nothing.
    pub const fn disabled() -> Self {
        Self(None)
    }

    /// Returns true if there is a pipeline.
    pub const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the signals that at least one sink wants.
    pub fn interest(&self) -> SignalSet {
        self.0.as_ref().map_or(SignalSet::NONE, |shared| shared.queue.interest)
    }

    /// Returns the name of the service that this process is. It may be empty.
    pub fn service_name(&self) -> &str {
        self.0.as_ref().map_or("", |shared| &shared.service_name)
    }

    /// Returns the largest number of attributes of an event. Further ones are cut and counted.
    pub fn max_attributes(&self) -> usize {
        self.0.as_ref().map_or(usize::MAX, |shared| shared.max_attributes)
    }

    /// Logs an event. Never blocks: an event that does not fit is refused and counted. A log or a metric
    /// without a context belongs to the [current span](current_span).
    pub fn log_event(&self, event: Event) {
        self.log_event_with_ttl(event, Ttl::default());
    }

    /// Logs an event that stores keep for `ttl`.
    pub fn log_event_with_ttl(&self, event: Event, ttl: Ttl) {
        let Some(queue) = self.queue() else { return };
        let event = match event.context() {
            EventContext::None => match current_span() {
                Some(span) => event.in_context(EventContext::Span(span)),
                None => event,
            },
            EventContext::Trace(_) | EventContext::Span(_) => event,
        };
        let record = Record::from_event(event, ttl, Instant::now());
        queue.offer(record.retained_bytes(), move || record);
    }

    /// Returns the queue, if at least one sink wants anything.
    fn queue(&self) -> Option<&Arc<Queue>> {
        self.0.as_ref().map(|shared| &shared.queue).filter(|queue| !queue.interest.is_empty())
    }

    /// Submits all of `submissions`, or none. They are not changed: a log without a context belongs to no
    /// span. The receipt completes once every store has committed.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] with the submissions, if the queue or a store is full or the pipeline is closed.
    pub fn submit(&self, submissions: Vec<Submission>) -> Result<Receipt, SubmitError> {
        let Some(shared) = &self.0 else { return Err(SubmitError::Closed(submissions)) };
        let count = submissions.len() as u64;
        let ingest = &shared.queue.ingest;
        if shared.queue.is_closed() {
            ingest.refused_closed.fetch_add(count, Ordering::Relaxed);
            return Err(SubmitError::Closed(submissions));
        }
        if shared.stores.iter().any(StoreQueue::is_full) {
            ingest.refused_full.fetch_add(count, Ordering::Relaxed);
            return Err(SubmitError::Full(submissions));
        }
        let (receipt, acks) = receipt(shared.stores.len());
        match shared.queue.request(Request::Submit { submissions, acks }) {
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
        SpanGuard::start(self.queue(), name.into(), SpanKind::Internal, parent, attributes)
    }

    /// Starts a span below `parent`, which may be in another task or thread.
    pub fn span_below(
        &self,
        parent: impl Into<SpanContext>,
        name: impl Into<Text>,
        attributes: Attributes,
    ) -> SpanGuard {
        let parent = Some(parent.into());
        SpanGuard::start(self.queue(), name.into(), SpanKind::Internal, parent, attributes)
    }

    /// Starts the root of a new trace, whatever the current span is.
    pub fn root_span(&self, name: impl Into<Text>, attributes: Attributes) -> SpanGuard {
        SpanGuard::start(self.queue(), name.into(), SpanKind::Internal, None, attributes)
    }

    /// Continues a trace of another process: starts a span below the caller's span (W3C Trace Context). An
    /// attribute `tracestate` is the caller's header of that name. [`SpanGuard::tracestate`] returns it for
    /// requests to other processes.
    pub fn continue_trace(
        &self,
        remote: TraceParent,
        name: impl Into<Text>,
        attributes: Attributes,
    ) -> SpanGuard {
        self.span_builder(name, attributes).with_remote_parent(remote).start()
    }

    /// Returns a builder for a span with a kind or another parent.
    pub fn span_builder(&self, name: impl Into<Text>, attributes: Attributes) -> SpanBuilder<'_> {
        SpanBuilder::new(self.queue(), name.into(), attributes)
    }

    /// Returns a handle on the current span, such as the span of the request. Any code may have started it.
    pub fn current(&self) -> SpanHandle {
        SpanHandle::new(self.queue().cloned(), SpanContext::current())
    }

    /// Waits, at most `within`, until each sink has made everything logged before as durable as it can.
    pub async fn flush(&self, within: Duration) -> FlushReport {
        let Some(shared) = &self.0 else { return FlushReport::default() };
        if shared.queue.is_closed() {
            let closed =
                |sink: &Arc<SinkCounters>| (sink.name.to_owned(), Err("the pipeline is closed".to_owned()));
            return FlushReport { sinks: shared.sinks.iter().map(closed).collect() };
        }
        let (replies, answers): (Vec<_>, Vec<_>) = shared.sinks.iter().map(|_| oneshot::channel()).unzip();
        let is_requested = shared.queue.request(Request::Flush { replies }).is_ok();
        let deadline = deadline::after(within);
        let mut report = FlushReport::default();
        for (sink, answer) in shared.sinks.iter().zip(answers) {
            let outcome = if is_requested {
                match deadline::until(deadline, answer).await {
                    Some(Ok(outcome)) => outcome,
                    Some(Err(_)) => Err("the sink is closed or its queue is full".to_owned()),
                    None => Err(format!("the sink did not flush within {within:?}")),
                }
            } else {
                Err("the telemetry queue is full; flush again later".to_owned())
            };
            report.sinks.push((sink.name.to_owned(), outcome));
        }
        report
    }

    /// Returns the counts of what happened to everything logged so far.
    pub fn ledger(&self) -> Ledger {
        let Some(shared) = &self.0 else { return Ledger::default() };
        let mut assembler = *shared.assembler.lock().unwrap_or_else(PoisonError::into_inner);
        let ingest = shared.queue.ingest.read(assembler.submissions);
        assembler.truncated_values += shared.queue.ingest.truncated_values.load(Ordering::Relaxed);
        Ledger { ingest, assembler, sinks: shared.sinks.iter().map(|sink| sink.read()).collect() }
    }

    /// Returns the store of the first sink that has one.
    pub fn store(&self) -> Option<Arc<dyn TraceStore>> {
        self.0.as_ref()?.store.as_ref().map(|store| Arc::clone(&store.0))
    }
}
