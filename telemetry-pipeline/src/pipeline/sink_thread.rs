//! The thread of one sink: builds the sink, waits until all sinks are built, and runs the worker.

use std::io;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use telemetry_core::{
    BuiltSink, Recovered, RunId, SignalSet, Sink, SinkContext, SinkEntry, SinkError, TraceStore,
};

use super::thread::{PipelineThread, mark_pipeline_thread};
use crate::accounting::{RejectedChunks, SinkCounters, SinkState};
use crate::catch_panic::CatchPanic;
use crate::deadline::GiveUpAt;
use crate::error::StartFailure;
use crate::spool::Spool;
use crate::worker::{Worker, WorkerParts, WorkerQueue, WorkerSender};

/// A sink to start.
#[derive(Debug)]
pub struct SinkSpec {
    /// The sink's description.
    pub entry: &'static SinkEntry,
    /// What its build function receives.
    pub context: SinkContext,
}

/// What all workers of a pipeline share.
#[derive(Clone, Debug)]
pub(super) struct WorkerContext {
    pub(super) run: RunId,
    pub(super) give_up_at: GiveUpAt,
    pub(super) rejected: RejectedChunks,
}

/// What a sink's thread reports once its sink is built.
pub(super) struct Built {
    pub(super) sender: WorkerSender,
    pub(super) store: Option<Arc<dyn TraceStore>>,
    pub(super) recovered: Recovered,
    pub(super) reads_span_events: bool,
}

/// A sink's thread while its sink is being built.
pub(super) struct SinkThread {
    built: mpsc::Receiver<Result<Built, StartFailure>>,
    start: mpsc::SyncSender<()>,
    thread: PipelineThread,
}

impl SinkThread {
    pub(super) fn spawn(spec: SinkSpec, context: WorkerContext) -> io::Result<Self> {
        let (report, built) = mpsc::sync_channel(1);
        let (start, wait_for_start) = mpsc::sync_channel(1);
        let (thread, _) = PipelineThread::spawn(spec.entry.name, move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            // The runtime's threads for blocking calls belong to the pipeline too.
            match runtime.enable_all().on_thread_start(mark_pipeline_thread).build() {
                Ok(runtime) => runtime.block_on(run(spec, context, &report, &wait_for_start)),
                Err(error) => {
                    let _ = report.try_send(Err(StartFailure::Thread(error)));
                }
            }
        })?;
        Ok(Self { built, start, thread })
    }

    /// Blocks until the sink is built, or until `deadline`, which is `limit` after the start.
    pub(super) fn wait_until_built(&self, deadline: Instant, limit: Duration) -> Result<Built, StartFailure> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.built.recv_timeout(left) {
            Ok(built) => built,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(StartFailure::TimedOut(limit)),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(StartFailure::Panicked("its thread ended".to_owned()))
            }
        }
    }

    /// Lets the worker start.
    pub(super) fn start(self) -> PipelineThread {
        // If the thread is gone, its queue is closed, which the assembler thread notices.
        let _ = self.start.send(());
        self.thread
    }

    /// Lets the thread shut its sink down without starting.
    pub(super) fn cancel(self) -> PipelineThread {
        self.thread
    }
}

async fn run(
    spec: SinkSpec,
    context: WorkerContext,
    report: &mpsc::SyncSender<Result<Built, StartFailure>>,
    start: &mpsc::Receiver<()>,
) {
    let name = spec.entry.name;
    let built = match CatchPanic::new(async { (spec.entry.build)(&spec.context).await }).await {
        Ok(Ok(built)) => built,
        Ok(Err(error)) => {
            let _ = report.try_send(Err(StartFailure::Build(error)));
            return;
        }
        Err(panic) => {
            let _ = report.try_send(Err(StartFailure::Panicked(panic)));
            return;
        }
    };
    let BuiltSink { sink, interest, store, recovered, options, reads_span_events, .. } = built;
    let reads_span_events = reads_span_events && interest.contains(SignalSet::SPAN_ENDED);
    let (spool, unreadable) = match options.spool.as_ref().map(Spool::open).transpose() {
        Ok(opened) => opened.map_or((None, 0), |(spool, unreadable)| (Some(spool), unreadable)),
        Err(error) => {
            shut_down_unused(name, sink).await;
            let error = SinkError::close("can't use the sink's spool").source(error);
            let _ = report.try_send(Err(StartFailure::Build(error)));
            return;
        }
    };
    let is_store = store.is_some();
    let counters = Arc::new(SinkCounters::new(name, is_store));
    if let Some(spool) = &spool {
        count_spooled(spool, unreadable, &counters);
    }
    let (sender, queue) = WorkerQueue::new(Arc::clone(&counters), interest, is_store, &options, spool);
    let _ = report.try_send(Ok(Built { sender, store, recovered, reads_span_events }));
    if start.recv().is_err() {
        // Another sink failed to start.
        shut_down_unused(name, sink).await;
        return;
    }
    let WorkerContext { run, give_up_at, rejected } = context;
    let rejected = is_store.then_some(rejected);
    let parts =
        WorkerParts { sink, interest, options, run, counters: Arc::clone(&counters), give_up_at, rejected };
    // The worker catches panics of the sink. This is for all other code on this thread, such as a logger of the host.
    let worked = CatchPanic::new(Worker::new(parts, queue).run()).await;
    if let Err(panic) = worked {
        counters.set_error(format!("the worker panicked: {panic}"));
        counters.set_state(SinkState::Failed);
    }
}

/// Counts the signals that an earlier run left on disk.
fn count_spooled(spool: &Spool, unreadable: u64, counters: &SinkCounters) {
    let signals = spool.len();
    counters.accept(signals + unreadable);
    counters.fail(unreadable, "spool unreadable");
    counters.set_spooled(signals);
    if signals + unreadable > 0 {
        tracing::info!(
            sink = counters.name,
            signals,
            unreadable,
            "the spool contains signals of an earlier run"
        );
    }
}

async fn shut_down_unused(name: &str, sink: Box<dyn Sink>) {
    let done = CatchPanic::new(async { sink.shutdown().await.map_err(|error| error.full_text()) }).await;
    if let Err(error) = done.flatten() {
        tracing::warn!(sink = name, error, "can't shut down the sink, which was not started");
    }
}
