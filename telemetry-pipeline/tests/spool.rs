//! The queue continues on disk: nothing that fits is lost, nothing is delivered out of order.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use telemetry_core::{
    Batch, BuiltSink, Event, LogBody, LogRecord, OptionValue, Options, RunId, Severity, Signal, SignalSet,
    Sink, SinkContext, SinkEntry, SinkError, SinkOptions, SpoolOptions, Ttl, Written, attrs,
};
use telemetry_pipeline::{Pipeline, PipelineConfig, Receipt, SinkLedger, SinkSpec, Submission, Telemetry};
use telemetry_testkit::MemoryStore;

const DEADLINE: Duration = Duration::from_secs(30);

/// How the destination is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Health {
    #[default]
    Up,
    /// Answers that it can't now.
    Down,
    /// Takes one signal of a batch, then can't.
    TakesOne,
    /// Takes half of a batch, then can't for a moment.
    TakesHalf,
    /// Never answers.
    Hangs,
    /// Ends the sink.
    Gone,
}

#[derive(Default)]
struct Destination {
    state: Mutex<(Health, Vec<Arc<LogRecord>>)>,
    changed: Condvar,
}

impl Destination {
    fn new(health: Health) -> Arc<Self> {
        let destination = Self::default();
        destination.state.lock().unwrap().0 = health;
        Arc::new(destination)
    }

    fn set(&self, health: Health) {
        self.state.lock().unwrap().0 = health;
    }

    fn wait_for(&self, signals: usize) -> Vec<Arc<LogRecord>> {
        let state = self.state.lock().unwrap();
        let (state, timeout) =
            self.changed.wait_timeout_while(state, DEADLINE, |(_, seen)| seen.len() < signals).unwrap();
        assert!(!timeout.timed_out(), "only {} of {signals} signals", state.1.len());
        state.1.clone()
    }
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
            Health::Up => {
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

/// Destinations by the number in a sink's options: a build function has no captures.
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
                // So little memory that most goes to disk.
                queue_bytes: 256 << 10,
                spool: SpoolOptions::read(&context.options, "spooled").unwrap(),
                ..SinkOptions::default()
            };
            let built = BuiltSink::new(ToDestination(destination), SignalSet::LOG).with_options(options);
            let is_store = context.options.flag("is_store").unwrap().unwrap_or(false);
            // Nobody asks it anything: that it is there makes receipts wait.
            Ok(if is_store { built.with_store(Arc::new(MemoryStore::new("test"))) } else { built })
        })
    },
};

fn try_start(destination: &Arc<Destination>, folder: &Path, size: &str) -> Result<Pipeline, String> {
    try_start_as(destination, folder, size, false)
}

fn try_start_as(
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

fn start(destination: &Arc<Destination>, folder: &Path) -> Pipeline {
    try_start(destination, folder, "64MiB").unwrap()
}

/// Logs numbered lines, at a pace that the worker keeps up with. The numbers begin at zero with the run.
fn log(telemetry: &Telemetry, numbers: std::ops::Range<usize>) {
    log_from(telemetry, 0, numbers);
}

fn log_from(telemetry: &Telemetry, first_of_run: usize, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let event = Event::log(Severity::Info, number.to_string()).with_attributes(attrs! { "n" => 7.0 });
        let ttl = Ttl::from_seconds(number as u64 + 1).unwrap();
        submit(telemetry, event, ttl).wait(DEADLINE).unwrap();
        if number % 20 == 19 {
            // Not more than fits into memory at once.
            wait_until(telemetry, |sink| {
                let in_memory = sink.pending - sink.spooled.min(sink.pending);
                sink.accepted > (number - first_of_run) as u64 && (in_memory < 700 || sink.dropped > 0)
            });
        }
    }
}

fn submit(telemetry: &Telemetry, event: Event, ttl: Ttl) -> Receipt {
    telemetry.submit(vec![Submission::Event { event, ttl }]).unwrap()
}

fn sink(telemetry: &Telemetry) -> SinkLedger {
    telemetry.ledger().sinks.remove(0)
}

fn wait_until(telemetry: &Telemetry, holds: impl Fn(&SinkLedger) -> bool) {
    let started = Instant::now();
    while !holds(&sink(telemetry)) {
        assert!(started.elapsed() < DEADLINE, "{:?}", sink(telemetry));
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn numbers(logs: &[Arc<LogRecord>]) -> Vec<usize> {
    let number = |log: &Arc<LogRecord>| match &log.body {
        LogBody::Message { message, .. } => message.parse().unwrap(),
        LogBody::SpanEvent { .. } => panic!("{log:?}"),
    };
    logs.iter().map(number).collect()
}

fn counted(sink: &SinkLedger) -> (u64, u64, u64, u64) {
    assert_eq!(sink.accepted, sink.delivered + sink.failed + sink.dropped + sink.pending, "{sink:?}");
    (sink.delivered, sink.failed, sink.dropped, sink.pending)
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = folder.join("spooled").read_dir().unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|suffix| suffix == "spool"));
    files.sort();
    files
}

#[test]
fn what_memory_cannot_hold_waits_on_disk_and_arrives_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::Down);
    let pipeline = start(&destination, folder.path());
    let telemetry = pipeline.telemetry();
    log(&telemetry, 0..2_000);
    wait_until(&telemetry, |sink| sink.spooled > 1_000);
    assert_eq!(counted(&sink(&telemetry)), (0, 0, 0, 2_000));
    destination.set(Health::Up);
    log(&telemetry, 2_000..2_100);
    assert_eq!(numbers(&destination.wait_for(2_100)), (0..2_100).collect::<Vec<_>>());
    let report = pipeline.shutdown(DEADLINE);
    assert_eq!(counted(&report.ledger.sinks[0]), (2_100, 0, 0, 0));
    assert_eq!(report.ledger.sinks[0].spooled, 0);
    assert!(files(folder.path()).is_empty(), "the space is given back");
}

#[test]
fn what_a_shutdown_leaves_is_delivered_by_the_next_run_as_it_was() {
    for health in [Health::Down, Health::Hangs] {
        let folder = tempfile::tempdir().unwrap();
        let destination = Destination::new(health);
        let pipeline = start(&destination, folder.path());
        log(&pipeline.telemetry(), 0..500);
        let before = telemetry_core::Timestamp::now();
        let report = pipeline.shutdown(Duration::from_secs(1));
        assert!(report.abandoned.is_empty(), "{health:?}");
        assert_eq!(counted(&report.ledger.sinks[0]), (0, 0, 0, 500), "{health:?}");
        assert_eq!(report.ledger.sinks[0].spooled, 500);

        destination.set(Health::Up);
        let pipeline = start(&destination, folder.path());
        log(&pipeline.telemetry(), 500..510);
        let logs = destination.wait_for(510);
        assert_eq!(numbers(&logs), (0..510).collect::<Vec<_>>(), "{health:?}");
        for (number, log) in logs[..500].iter().enumerate() {
            assert_eq!(log.ttl, Ttl::from_seconds(number as u64 + 1).unwrap());
            assert_eq!(log.attributes, attrs! { "n" => 7.0 });
            assert!(log.arrived < before, "arrival is the first process's");
        }
        assert_eq!(counted(&pipeline.shutdown(DEADLINE).ledger.sinks[0]), (510, 0, 0, 0));
    }
}

#[test]
fn what_is_stored_of_a_batch_is_not_delivered_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::TakesOne);
    let pipeline = start(&destination, folder.path());
    log(&pipeline.telemetry(), 0..10);
    destination.wait_for(1);
    let report = pipeline.shutdown(Duration::from_secs(1));
    let (delivered, _, _, pending) = counted(&report.ledger.sinks[0]);
    assert_eq!(delivered + pending, 10);
    destination.set(Health::Up);
    let pipeline = start(&destination, folder.path());
    assert_eq!(numbers(&destination.wait_for(10)), (0..10).collect::<Vec<_>>());
    drop(pipeline);
}

#[test]
fn a_killed_process_leaves_what_was_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::Down);
    let pipeline = start(&destination, folder.path());
    let telemetry = pipeline.telemetry();
    log(&telemetry, 0..1_500);
    wait_until(&telemetry, |sink| sink.spooled > 500);
    let on_disk = usize::try_from(sink(&telemetry).spooled).unwrap();
    // The files as they are at this moment are what a kill would leave; its last write may be torn.
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("spooled")).unwrap();
    for file in files(folder.path()) {
        std::fs::copy(&file, copy.path().join("spooled").join(file.file_name().unwrap())).unwrap();
    }
    let last = files(copy.path()).pop().unwrap();
    let mut bytes = std::fs::read(&last).unwrap();
    bytes.extend_from_within(8..48);
    std::fs::write(&last, bytes).unwrap();

    let successor = Destination::new(Health::Up);
    let after = start(&successor, copy.path());
    let logs = successor.wait_for(on_disk);
    assert_eq!(numbers(&logs), (0..logs.len()).collect::<Vec<_>>());
    drop((pipeline, after));
}

#[test]
fn beyond_the_bound_the_newest_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::Down);
    let pipeline = try_start(&destination, folder.path(), "64KiB").unwrap();
    let telemetry = pipeline.telemetry();
    log(&telemetry, 0..900);
    for number in 900..3_000 {
        telemetry.log_event(Event::log(Severity::Info, number.to_string()));
    }
    wait_until(&telemetry, |sink| sink.dropped > 0);
    let size: u64 = files(folder.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(size <= 64 << 10, "{size}");
    destination.set(Health::Up);
    let report = pipeline.shutdown(DEADLINE);
    let ledger = &report.ledger.sinks[0];
    let (delivered, failed, dropped, pending) = counted(ledger);
    assert_eq!((failed, pending, ledger.reasons["spool full"]), (0, 0, dropped));
    let arrived = numbers(&destination.wait_for(usize::try_from(delivered).unwrap()));
    assert!(arrived.is_sorted(), "in order all the same");
    assert_eq!(arrived[0], 0, "the oldest is kept");
}

#[test]
fn a_damaged_file_is_counted_and_the_rest_is_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::Down);
    let pipeline = try_start(&destination, folder.path(), "256KiB").unwrap();
    log(&pipeline.telemetry(), 0..500);
    pipeline.shutdown(Duration::from_secs(1));
    let first = files(folder.path()).remove(0);
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&first, bytes).unwrap();

    destination.set(Health::Up);
    let pipeline = try_start(&destination, folder.path(), "256KiB").unwrap();
    wait_until(&pipeline.telemetry(), |sink| sink.pending == 0);
    let report = pipeline.shutdown(DEADLINE);
    let (delivered, failed, dropped, pending) = counted(&report.ledger.sinks[0]);
    assert_eq!((delivered + failed, dropped, pending), (500, 0, 0));
    assert!(failed > 0 && delivered > 0, "{delivered} and {failed}");
    assert_eq!(report.ledger.sinks[0].reasons["spool unreadable"], failed);
}

#[test]
fn two_pipelines_on_one_spool_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::Up);
    let first = start(&destination, folder.path());
    let error = try_start(&destination, folder.path(), "64MiB").unwrap_err();
    let path = folder.path().join("spooled");
    let expected = format!(
        "sink `spooled`: can't use the sink's spool: the spool `{}` is in use (process {}); \
         give every sink and process a folder of its own",
        path.display(),
        std::process::id()
    );
    assert_eq!(error, expected);
    drop(first);
    start(&destination, folder.path());
}

#[test]
fn a_spool_that_cannot_be_made_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("spooled"), "a file").unwrap();
    let destination = Destination::new(Health::Up);
    let error = try_start(&destination, folder.path(), "64MiB").unwrap_err();
    assert!(error.contains("can't create `"), "{error}");
}

#[test]
fn a_flush_waits_for_what_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::Down);
    let pipeline = start(&destination, folder.path());
    let telemetry = pipeline.telemetry();
    log(&telemetry, 0..1_500);
    wait_until(&telemetry, |sink| sink.spooled > 500);
    assert!(!block_on(telemetry.flush(Duration::from_millis(50))).is_complete());
    destination.set(Health::Up);
    assert!(block_on(telemetry.flush(DEADLINE)).is_complete());
    assert_eq!(destination.wait_for(1_500).len(), 1_500);
}

#[test]
fn a_sink_that_ends_leaves_its_spool_for_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::Down);
    let pipeline = start(&destination, folder.path());
    let telemetry = pipeline.telemetry();
    log(&telemetry, 0..1_500);
    wait_until(&telemetry, |sink| sink.spooled > 500);
    destination.set(Health::Gone);
    wait_until(&telemetry, |sink| sink.failed > 0);
    let report = pipeline.shutdown(DEADLINE);
    let (delivered, failed, dropped, pending) = counted(&report.ledger.sinks[0]);
    assert_eq!((delivered, report.ledger.sinks[0].spooled), (0, pending));
    assert!(pending > 500, "{failed} failed, {dropped} dropped");
    destination.set(Health::Up);
    let pipeline = start(&destination, folder.path());
    assert_eq!(destination.wait_for(usize::try_from(pending).unwrap()).len() as u64, pending);
    drop(pipeline);
}

#[test]
fn a_receipt_waits_until_the_store_has_what_was_on_disk() {
    for recovers in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let store = Destination::new(Health::Down);
        let pipeline = try_start_as(&store, folder.path(), "64MiB", true).unwrap();
        let telemetry = pipeline.telemetry();
        let logged = Event::log(Severity::Info, "0");
        let receipt = submit(&telemetry, logged.clone(), Ttl::default());
        for number in 1..2_000_u64 {
            telemetry.log_event(logged.clone());
            if number % 20 == 19 {
                let in_memory = |sink: &SinkLedger| sink.pending - sink.spooled.min(sink.pending);
                wait_until(&telemetry, |sink| sink.accepted > number && in_memory(sink) < 700);
            }
        }
        wait_until(&telemetry, |sink| sink.accepted == 2_000 && sink.spooled > 1_000);
        if recovers {
            store.set(Health::Up);
            assert_eq!(receipt.wait(DEADLINE), Ok(()));
            assert_eq!(store.wait_for(2_000).len(), 2_000);
        } else {
            let report = pipeline.shutdown(Duration::from_millis(500));
            assert_eq!(report.ledger.sinks[0].spooled, 2_000, "stored later");
            assert!(receipt.wait(DEADLINE).is_err(), "but not yet");
        }
    }
}

#[test]
fn whatever_the_destination_does_all_arrives_once_and_in_order() {
    const RUNS: usize = 4;
    const LOGS: usize = 600;
    for seed in 0..6_u64 {
        let folder = tempfile::tempdir().unwrap();
        let destination = Destination::new(Health::Up);
        let mut random = seed;
        let mut health = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            [Health::Up, Health::Down, Health::TakesHalf, Health::Down][(random >> 33) as usize % 4]
        };
        for run in 0..RUNS {
            let pipeline = start(&destination, folder.path());
            for part in 0..6 {
                destination.set(health());
                let first = run * LOGS + part * 100;
                log_from(&pipeline.telemetry(), run * LOGS, first..first + 100);
            }
            let report = pipeline.shutdown(Duration::from_millis(500));
            let (_, failed, dropped, pending) = counted(&report.ledger.sinks[0]);
            assert_eq!(
                (failed, dropped, report.ledger.sinks[0].spooled),
                (0, 0, pending),
                "seed {seed} run {run}"
            );
        }
        destination.set(Health::Up);
        let pipeline = start(&destination, folder.path());
        let arrived = numbers(&destination.wait_for(RUNS * LOGS));
        assert_eq!(arrived, (0..RUNS * LOGS).collect::<Vec<_>>(), "seed {seed}");
        drop(pipeline);
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
