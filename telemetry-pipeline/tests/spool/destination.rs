//! A destination whose health a test sets, and a pipeline with a spool that delivers to it.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use telemetry_core::{
    Batch, BuiltSink, Event, LogBody, LogRecord, OptionValue, Options, RunId, Severity, Signal, SignalSet,
    Sink, SinkContext, SinkEntry, SinkError, SinkOptions, SpoolOptions, Submission, Ttl, Written, attrs,
};
use telemetry_pipeline::{Pipeline, PipelineConfig, Receipt, SinkLedger, SinkSpec, Telemetry};
use telemetry_testkit::MemoryStore;

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The health of the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Health {
    #[default]
    Up,
    /// Fails every batch, and asks for a retry.
    Down,
    /// Takes one signal of a batch, then fails for an hour.
    TakesOne,
    /// Takes half of a batch, then fails for a moment.
    TakesHalf,
    /// Rejects the batch with a certain log, and takes the others.
    Rejects(&'static str),
    /// Never answers.
    Hangs,
    /// Ends the sink.
    Gone,
}

#[derive(Default)]
pub(crate) struct Destination {
    state: Mutex<(Health, Vec<Arc<LogRecord>>)>,
    changed: Condvar,
}

impl Destination {
    pub(crate) fn new(health: Health) -> Arc<Self> {
        let destination = Self::default();
        destination.state.lock().unwrap().0 = health;
        Arc::new(destination)
    }

    pub(crate) fn set(&self, health: Health) {
        self.state.lock().unwrap().0 = health;
    }

    pub(crate) fn wait_for(&self, signals: usize) -> Vec<Arc<LogRecord>> {
        let state = self.state.lock().unwrap();
        let (state, timeout) =
            self.changed.wait_timeout_while(state, DEADLINE, |(_, seen)| seen.len() < signals).unwrap();
        assert!(!timeout.timed_out(), "only {} of {signals} signals", state.1.len());
        state.1.clone()
    }
}

fn has_message(signal: &Signal, text: &str) -> bool {
    matches!(signal, Signal::Log(log) if matches!(&log.body, LogBody::Message { message, .. } if message == text))
}

struct ToDestination(Arc<Destination>);

#[async_trait]
impl Sink for ToDestination {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let health = self.0.state.lock().unwrap().0;
        let take = |count: usize| {
            let logs = batch.iter().take(count).map(|signal| match signal {
                Signal::Log(log) => Arc::clone(log),
                other => panic!("{other:?}"),
            });
            self.0.state.lock().unwrap().1.extend(logs);
            self.0.changed.notify_all();
        };
        match health {
            Health::Rejects(message) if batch.iter().any(|signal| has_message(signal, message)) => {
                Err(SinkError::reject("not this"))
            }
            Health::Up | Health::Rejects(_) => {
                take(usize::MAX);
                Ok(batch.delivered())
            }
            Health::Down => Err(SinkError::retry("down").after(Duration::from_millis(1))),
            Health::TakesOne => {
                take(1);
                Err(SinkError::retry("one is enough").stored(1).after(Duration::from_secs(3_600)))
            }
            Health::TakesHalf => {
                let half = batch.len().div_ceil(2);
                take(half);
                Err(SinkError::retry("half is enough").stored(half).after(Duration::from_millis(1)))
            }
            Health::Hangs => std::future::pending().await,
            Health::Gone => Err(SinkError::close("gone")),
        }
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Destinations by the number in a sink's options. A build function can't capture them.
static DESTINATIONS: Mutex<Vec<Arc<Destination>>> = Mutex::new(Vec::new());

static SPOOLED: SinkEntry = SinkEntry {
    name: "spooled",
    summary: "delivers to a test",
    keys: &[SpoolOptions::PATH, SpoolOptions::SIZE],
    build: |context| {
        Box::pin(async move {
            let number: usize = context.options.integer("destination").unwrap().unwrap();
            let destination = Arc::clone(&DESTINATIONS.lock().unwrap()[number]);
            let options = SinkOptions {
                batch_signals: 100,
                // Little memory, so that most signals go to disk.
                queue_bytes: 192 << 10,
                spool: SpoolOptions::read(&context.options, "spooled").unwrap(),
                ..SinkOptions::default()
            };
            let built = BuiltSink::new(ToDestination(destination), SignalSet::LOG).with_options(options);
            let is_store = context.options.flag("is_store").unwrap().unwrap_or(false);
            // Nobody queries this store. Its presence makes receipts wait.
            Ok(if is_store { built.with_store(Arc::new(MemoryStore::new("test"))) } else { built })
        })
    },
};

pub(crate) fn try_start(
    destination: &Arc<Destination>,
    folder: &Path,
    size: &str,
) -> Result<Pipeline, String> {
    try_start_as(destination, folder, size, false)
}

pub(crate) fn try_start_as(
    destination: &Arc<Destination>,
    folder: &Path,
    size: &str,
    is_store: bool,
) -> Result<Pipeline, String> {
    let mut destinations = DESTINATIONS.lock().unwrap();
    destinations.push(Arc::clone(destination));
    let number = i64::try_from(destinations.len() - 1).unwrap();
    drop(destinations);
    let options = Options::from_pairs([
        ("destination", OptionValue::Integer(number)),
        ("spool_path", OptionValue::Text(folder.to_str().unwrap().to_owned())),
        ("spool_size", OptionValue::Text(size.to_owned())),
        ("is_store", OptionValue::Flag(is_store)),
    ]);
    let context = SinkContext { service_name: "test".into(), options, run: RunId(1) };
    Pipeline::start(vec![SinkSpec { entry: &SPOOLED, context }], PipelineConfig::default())
        .map_err(|error| error.to_string())
}

pub(crate) fn start(destination: &Arc<Destination>, folder: &Path) -> Pipeline {
    try_start(destination, folder, "64MiB").unwrap()
}

/// Logs numbered lines, not faster than the worker takes them. The numbers of a run begin at zero.
pub(crate) fn log(telemetry: &Telemetry, numbers: std::ops::Range<usize>) {
    log_from(telemetry, 0, numbers);
}

pub(crate) fn log_from(telemetry: &Telemetry, first_of_run: usize, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let event = Event::log(Severity::Info, number.to_string()).with_attributes(attrs! { "n" => 7.0 });
        let ttl = Ttl::from_seconds(number as u64 + 1).unwrap();
        submit(telemetry, event, ttl).wait(DEADLINE).unwrap();
        if number % 20 == 19 {
            // No more than fits into memory.
            wait_until(telemetry, |sink| {
                let in_memory = sink.pending - sink.spooled.min(sink.pending);
                sink.accepted > (number - first_of_run) as u64 && (in_memory < 700 || sink.dropped > 0)
            });
        }
    }
}

pub(crate) fn submit(telemetry: &Telemetry, event: Event, ttl: Ttl) -> Receipt {
    telemetry.submit(vec![Submission::Event { event, ttl }]).unwrap()
}

pub(crate) fn sink(telemetry: &Telemetry) -> SinkLedger {
    telemetry.ledger().sinks.remove(0)
}

pub(crate) fn wait_until(telemetry: &Telemetry, holds: impl Fn(&SinkLedger) -> bool) {
    let started = Instant::now();
    while !holds(&sink(telemetry)) {
        assert!(started.elapsed() < DEADLINE, "{:?}", sink(telemetry));
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

pub(crate) fn numbers(logs: &[Arc<LogRecord>]) -> Vec<usize> {
    let number = |log: &Arc<LogRecord>| match &log.body {
        LogBody::Message { message, .. } => message.parse().unwrap(),
        LogBody::SpanEvent { .. } => panic!("{log:?}"),
    };
    logs.iter().map(number).collect()
}

pub(crate) fn counted(sink: &SinkLedger) -> (u64, u64, u64, u64) {
    assert_eq!(sink.accepted, sink.delivered + sink.failed + sink.dropped + sink.pending, "{sink:?}");
    (sink.delivered, sink.failed, sink.dropped, sink.pending)
}

pub(crate) fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = folder.join("spooled").read_dir().unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|suffix| suffix == "spool"));
    files.sort();
    files
}
