//! Starts and ends the threads of a pipeline.

mod assembler_thread;
mod sink_thread;
mod thread;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use telemetry_core::{Recovered, SignalSet};
use tokio::sync::watch;

pub use self::sink_thread::SinkSpec;
pub use self::thread::is_pipeline_thread;

use self::assembler_thread::AssemblerThread;
use self::sink_thread::{Built, SinkThread, WorkerContext};
use self::thread::PipelineThread;
use crate::accounting::{AssemblerCounts, Ledger, RejectedChunks};
use crate::assembler::Assembler;
use crate::config::PipelineConfig;
use crate::deadline::{self, GiveUpAt};
use crate::error::{StartError, StartFailure};
use crate::queue::Queue;
use crate::telemetry::{Shared, StoreHandle, Telemetry};
use crate::worker::WorkerSender;

/// A running pipeline. Dropping it shuts it down.
#[derive(Debug)]
pub struct Pipeline {
    shared: Arc<Shared>,
    give_up_at: watch::Sender<Option<tokio::time::Instant>>,
    assembler: PipelineThread,
    workers: Vec<PipelineThread>,
    is_shut_down: bool,
}

/// The result of a shutdown.
#[derive(Clone, Debug)]
pub struct ShutdownReport {
    /// Sinks whose thread did not end in time and was abandoned.
    pub abandoned: Vec<String>,
    /// The ledger at the end.
    pub ledger: Ledger,
}

/// The deadline for the shutdown of a pipeline that is dropped.
const DROP_WITHIN: Duration = Duration::from_secs(5);

impl Pipeline {
    /// Starts all sinks, each on a thread of its own, and blocks until every one is ready.
    ///
    /// # Errors
    ///
    /// [`StartError`] with every sink that failed. The sinks that were ready are shut down again.
    pub fn start(sinks: Vec<SinkSpec>, config: PipelineConfig) -> Result<Self, StartError> {
        let limit = config.build_within;
        let deadline = Instant::now() + limit;
        let (give_up_sender, give_up_at) = GiveUpAt::channel();
        let context = WorkerContext { run: config.run, give_up_at, rejected: RejectedChunks::default() };
        let threads: Vec<_> = sinks
            .into_iter()
            .map(|spec| (spec.entry.name, SinkThread::spawn(spec, context.clone())))
            .collect();
        let mut failures = Vec::new();
        let mut ready = Vec::new();
        for (name, thread) in threads {
            let built = thread.map_err(StartFailure::Thread).and_then(|thread| {
                let built = thread.wait_until_built(deadline, limit)?;
                Ok((thread, built))
            });
            match built {
                Ok(pair) => ready.push(pair),
                Err(failure) => failures.push((name, failure)),
            }
        }
        if !failures.is_empty() {
            let threads: Vec<_> = ready.into_iter().map(|(thread, _)| thread.cancel()).collect();
            let deadline = Instant::now() + DROP_WITHIN;
            for thread in threads {
                thread.wait(deadline);
            }
            return Err(StartError { failures });
        }
        Self::connect(ready, config, context.rejected, give_up_sender)
            .map_err(|error| StartError { failures: vec![("assembler", StartFailure::Thread(error))] })
    }

    /// Connects the workers with the assembler thread, and starts all of them.
    fn connect(
        ready: Vec<(SinkThread, Built)>,
        config: PipelineConfig,
        rejected: RejectedChunks,
        give_up_at: watch::Sender<Option<tokio::time::Instant>>,
    ) -> io::Result<Self> {
        let mut senders = Vec::new();
        let mut workers = Vec::new();
        let mut store = None;
        let mut recovered = Recovered::default();
        let mut lists_events = false;
        for (thread, built) in ready {
            if let Some(built) = built.store {
                store.get_or_insert(StoreHandle(built));
            }
            recovered.open_spans.extend(built.recovered.open_spans);
            recovered.waiting_ends.extend(built.recovered.waiting_ends);
            lists_events |= built.reads_span_events;
            workers.push(thread.start());
            senders.push(built.sender);
        }
        let interest = senders.iter().fold(SignalSet::NONE, |union, sender| union | sender.interest);
        let queue = Arc::new(Queue::new(&config, interest));
        let counts = Arc::new(Mutex::new(AssemblerCounts::default()));
        let shared = Arc::new(Shared {
            queue: Arc::clone(&queue),
            assembler: Arc::clone(&counts),
            sinks: senders.iter().map(|sender| Arc::clone(&sender.counters)).collect(),
            stores: senders.iter().filter_map(WorkerSender::store_queue).collect(),
            store,
            service_name: config.service_name,
            max_attributes: config.assembler.max_attributes_per_span,
        });
        let assembler = Assembler::new(config.assembler, recovered)
            .with_interest(interest)
            .with_listed_events(lists_events);
        let redaction = config.redaction;
        let thread = AssemblerThread { queue, assembler, counts, workers: senders, redaction, rejected };
        // This also lets the queue know the thread, before any handle is returned.
        let assembler = thread.spawn()?;
        Ok(Self { shared, give_up_at, assembler, workers, is_shut_down: false })
    }

    /// Returns the handle for code that logs.
    pub fn telemetry(&self) -> Telemetry {
        Telemetry::new(Arc::clone(&self.shared))
    }

    /// Shuts the pipeline down, and blocks until that is done, `within` at most.
    ///
    /// From now on the queue refuses events. All accepted ones are delivered, then all sinks are flushed and
    /// closed at the same time.
    pub fn shutdown(mut self, within: Duration) -> ShutdownReport {
        self.shut_down(within)
    }

    fn shut_down(&mut self, within: Duration) -> ShutdownReport {
        self.is_shut_down = true;
        let deadline = deadline::after(within);
        self.shared.queue.close();
        // Workers stop retrying a little earlier, so that there is time to close the sinks.
        let spare = (within / 5).min(Duration::from_secs(2));
        let give_up_at = tokio::time::Instant::from_std(deadline::after(within.saturating_sub(spare)));
        self.give_up_at.send_replace(Some(give_up_at));
        self.assembler.wait(deadline);
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
        if !self.is_shut_down {
            self.shut_down(DROP_WITHIN);
        }
    }
}
