//! Owns the threads: starts them, ends them.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, mpsc as std_mpsc};
use std::time::{Duration, Instant};

use telemetry_core::{
    BuiltSink, Recovered, RunId, SignalSet, Sink, SinkContext, SinkEntry, SinkError, SinkOptions, TraceStore,
};
use tokio::sync::{mpsc, watch};

use crate::assembler::{Assembler, AssemblerCounts};
use crate::contained::Contained;
use crate::engine::{Engine, Outlet};
use crate::error::{StartError, StartFailure};
use crate::lane::Gate;
use crate::ledger::{Ledger, SinkCounters};
use crate::lost::LostChunks;
use crate::spool::Spool;
use crate::telemetry::{Shared, StoreHandle, StoreQueue};
use crate::worker::{Message, Worker, WorkerParts};
use crate::{PipelineConfig, Telemetry};

/// A sink to start: its entry and what it is built from.
#[derive(Debug)]
pub struct SinkSpec {
    /// The sink's description.
    pub entry: &'static SinkEntry,
    /// What it is built from.
    pub context: SinkContext,
}

/// A running pipeline. Dropping it shuts it down.
#[derive(Debug)]
pub struct Pipeline {
    shared: Arc<Shared>,
    give_up_at: watch::Sender<Option<tokio::time::Instant>>,
    engine: Thread,
    workers: Vec<Thread>,
    is_down: bool,
}

/// What was left at the end of a shutdown.
#[derive(Clone, Debug)]
pub struct ShutdownReport {
    /// Sinks whose thread did not end in time and was abandoned.
    pub abandoned: Vec<String>,
    /// The ledger at the end.
    pub ledger: Ledger,
}

/// A thread that says when it has ended.
#[derive(Debug)]
struct Thread {
    name: &'static str,
    ended: std_mpsc::Receiver<()>,
}

/// What a sink's thread reports of its build.
struct Built {
    interest: SignalSet,
    store: Option<Arc<dyn TraceStore>>,
    recovered: Recovered,
    options: SinkOptions,
}

/// What a sink's thread is given once all sinks are built.
struct Go {
    queue: mpsc::Receiver<Message>,
    bytes: Arc<AtomicUsize>,
    counters: Arc<SinkCounters>,
    give_up_at: watch::Receiver<Option<tokio::time::Instant>>,
    run: RunId,
    lost: LostChunks,
}

/// A sink's thread while it is built.
struct Starting {
    name: &'static str,
    built: std_mpsc::Receiver<Result<Built, StartFailure>>,
    go: std_mpsc::SyncSender<Go>,
    thread: Thread,
}

/// Chunks that may wait for one worker, whatever their size.
const WORKER_QUEUE: usize = 8_192;
/// How long a pipeline that is dropped takes at most.
const DROP_WITHIN: Duration = Duration::from_secs(5);

thread_local! {
    static OWN_THREAD: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether this thread belongs to a pipeline. Layers that turn logs into events ignore such threads,
/// so that a sink's own logs don't feed it.
pub fn is_pipeline_thread() -> bool {
    OWN_THREAD.get()
}

impl Pipeline {
    /// Starts all sinks, each on a thread of its own, and waits until every one is ready.
    ///
    /// # Errors
    ///
    /// [`StartError`] with every sink that failed; those that were ready are shut down again.
    pub fn start(sinks: Vec<SinkSpec>, config: PipelineConfig) -> Result<Self, StartError> {
        let deadline = Instant::now() + config.build_within;
        let mut failures = Vec::new();
        let mut ready = Vec::new();
        let starting: Vec<_> = sinks.into_iter().map(|spec| (spec.entry.name, spawn_sink(spec))).collect();
        for (name, starting) in starting {
            let outcome = starting.map_err(StartFailure::Thread).and_then(|starting| {
                let left = deadline.saturating_duration_since(Instant::now());
                match starting.built.recv_timeout(left) {
                    Ok(Ok(built)) => Ok((starting, built)),
                    Ok(Err(failure)) => Err(failure),
                    Err(std_mpsc::RecvTimeoutError::Timeout) => {
                        Err(StartFailure::TimedOut(config.build_within))
                    }
                    Err(std_mpsc::RecvTimeoutError::Disconnected) => {
                        Err(StartFailure::Panicked("its thread ended".to_owned()))
                    }
                }
            });
            match outcome {
                Ok(pair) => ready.push(pair),
                Err(failure) => failures.push((name, failure)),
            }
        }
        if failures.is_empty() {
            Self::connect(ready, config)
                .map_err(|error| StartError { failures: vec![("assembler", StartFailure::Thread(error))] })
        } else {
            // Dropping `ready` tells the threads to shut their sinks down; wait for them.
            let threads: Vec<_> = ready.into_iter().map(|(starting, _)| starting.thread).collect();
            let deadline = Instant::now() + DROP_WITHIN;
            for thread in threads {
                thread.wait(deadline);
            }
            Err(StartError { failures })
        }
    }

    fn connect(ready: Vec<(Starting, Built)>, config: PipelineConfig) -> std::io::Result<Self> {
        let (give_up_at, _) = watch::channel(None);
        let mut outlets = Vec::new();
        let mut workers = Vec::new();
        let mut stores = Vec::new();
        let mut store = None;
        let mut recovered = Recovered::default();
        let lost = LostChunks::default();
        for (starting, built) in ready {
            let (sender, queue) = mpsc::channel(WORKER_QUEUE);
            let bytes = Arc::new(AtomicUsize::new(0));
            let counters = Arc::new(SinkCounters::new(starting.name));
            let is_store = built.store.is_some();
            if let Some(built_store) = built.store {
                let max_bytes = built.options.queue_bytes;
                stores.push(StoreQueue {
                    counters: Arc::clone(&counters),
                    bytes: Arc::clone(&bytes),
                    max_bytes: max_bytes / 2,
                });
                store.get_or_insert(StoreHandle(built_store));
            }
            recovered.open_spans.extend(built.recovered.open_spans);
            recovered.waiting_ends.extend(built.recovered.waiting_ends);
            let go = Go {
                queue,
                bytes: Arc::clone(&bytes),
                counters: Arc::clone(&counters),
                give_up_at: give_up_at.subscribe(),
                run: config.run,
                lost: lost.clone(),
            };
            // The thread waits for this; were it gone, its queue would count as closed.
            let _ = starting.go.send(go);
            workers.push(starting.thread);
            outlets.push(Outlet {
                counters,
                interest: built.interest,
                is_store,
                queue: sender,
                bytes,
                max_bytes: built.options.queue_bytes,
            });
        }
        let interest = outlets.iter().fold(SignalSet::NONE, |union, outlet| union | outlet.interest);
        let gate = Arc::new(Gate::new(&config, interest));
        let shared = Arc::new(Shared {
            gate,
            assembler: Mutex::new(AssemblerCounts::default()),
            sinks: outlets.iter().map(|outlet| Arc::clone(&outlet.counters)).collect(),
            stores,
            store,
            service_name: config.service_name,
        });
        let assembler = Assembler::new(config.assembler, recovered).with_interest(interest);
        let engine = Engine::new(Arc::clone(&shared), assembler, outlets, config.redaction, lost);
        let (ended, wait) = std_mpsc::sync_channel(1);
        let handle = thread_builder("assembler").spawn(move || {
            OWN_THREAD.set(true);
            engine.run();
            // Nobody waits any more: fine.
            let _ = ended.try_send(());
        })?;
        // Before the door is handed out.
        shared.gate.serve_by(handle.thread().clone());
        let engine = Thread { name: "assembler", ended: wait };
        Ok(Self { shared, give_up_at, engine, workers, is_down: false })
    }

    /// The door.
    pub fn telemetry(&self) -> Telemetry {
        Telemetry::new(Arc::clone(&self.shared))
    }

    /// Closes the door, delivers what was accepted, flushes and closes all sinks in parallel, and
    /// returns after `within` at the latest. Blocking.
    pub fn shutdown(mut self, within: Duration) -> ShutdownReport {
        self.take_down(within)
    }

    fn take_down(&mut self, within: Duration) -> ShutdownReport {
        self.is_down = true;
        let deadline = Instant::now() + within;
        self.shared.gate.close();
        // Workers stop retrying a little earlier, so that there is time to close.
        let spare = (within / 5).min(Duration::from_secs(2));
        let give_up_at = tokio::time::Instant::from_std(Instant::now() + within.saturating_sub(spare));
        self.give_up_at.send_replace(Some(give_up_at));
        self.engine.wait(deadline);
        let late = self.workers.iter().filter(|worker| !worker.wait(deadline));
        let abandoned: Vec<String> = late.map(|worker| worker.name.to_owned()).collect();
        for sink in &self.shared.sinks {
            if abandoned.iter().any(|name| name == sink.name) {
                sink.abandon("shutdown");
            }
        }
        ShutdownReport { abandoned, ledger: self.telemetry().ledger() }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if !self.is_down {
            self.take_down(DROP_WITHIN);
        }
    }
}

impl Thread {
    /// Waits for the thread's end until `deadline`; says whether it has ended.
    fn wait(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        // Disconnected: it ended without a word, by a panic.
        !matches!(self.ended.recv_timeout(left), Err(std_mpsc::RecvTimeoutError::Timeout))
    }
}

fn thread_builder(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(format!("telemetry-{name}"))
}

/// Starts a sink's thread: it builds the sink, reports, waits for the others, and works.
fn spawn_sink(spec: SinkSpec) -> std::io::Result<Starting> {
    let (report, built) = std_mpsc::sync_channel(1);
    let (go, wait_for_go) = std_mpsc::sync_channel::<Go>(1);
    let (ended, wait) = std_mpsc::sync_channel(1);
    let name = spec.entry.name;
    thread_builder(name).spawn(move || {
        OWN_THREAD.set(true);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        // Threads that the runtime starts for blocking calls are the sink's, too.
        match runtime.enable_all().on_thread_start(|| OWN_THREAD.set(true)).build() {
            Ok(runtime) => runtime.block_on(live(&spec, &report, wait_for_go)),
            Err(error) => {
                let _ = report.try_send(Err(StartFailure::Thread(error)));
            }
        }
        // Nobody waits any more: fine.
        let _ = ended.try_send(());
    })?;
    Ok(Starting { name, built, go, thread: Thread { name, ended: wait } })
}

/// The life of a sink, on its own thread and runtime.
async fn live(
    spec: &SinkSpec,
    report: &std_mpsc::SyncSender<Result<Built, StartFailure>>,
    wait_for_go: std_mpsc::Receiver<Go>,
) {
    let built = match Contained::new(async { (spec.entry.build)(&spec.context).await }).await {
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
    let BuiltSink { sink, interest, store, recovered, options, .. } = built;
    let spool = match options.spool.as_ref().map(Spool::open).transpose() {
        Ok(spool) => spool,
        Err(error) => {
            close_unused(spec.entry.name, sink).await;
            let error = SinkError::close("can't use the sink's spool").source(error);
            let _ = report.try_send(Err(StartFailure::Build(error)));
            return;
        }
    };
    let is_store = store.is_some();
    let _ = report.try_send(Ok(Built { interest, store, recovered, options: options.clone() }));
    match wait_for_go.recv() {
        Ok(Go { queue, bytes, counters, give_up_at, run, lost }) => {
            let spool = spool.map(|(spool, lost)| take_over(spool, lost, &counters));
            let parts = WorkerParts {
                sink,
                interest,
                options,
                run,
                queue,
                bytes,
                counters,
                give_up_at,
                spool,
                lost: is_store.then_some(lost),
            };
            Worker::new(parts).work().await;
        }
        // Another sink failed to start.
        Err(_) => close_unused(spec.entry.name, sink).await,
    }
}

/// Counts what an earlier run left on disk.
fn take_over(spool: Spool, lost: u64, counters: &SinkCounters) -> Spool {
    let count = |signals: u64| usize::try_from(signals).unwrap_or(usize::MAX);
    let signals = spool.len();
    counters.accept(count(signals + lost));
    counters.fail(count(lost), "spool unreadable");
    counters.set_spooled(signals);
    if signals + lost > 0 {
        tracing::info!(sink = counters.name, signals, lost, "signals of an earlier run are in the spool");
    }
    spool
}

async fn close_unused(name: &str, sink: Box<dyn Sink>) {
    let closed = Contained::new(async { sink.shutdown().await.map_err(|error| error.full_text()) }).await;
    if let Err(error) = closed.flatten() {
        tracing::warn!(sink = name, error, "closing the sink failed");
    }
}
