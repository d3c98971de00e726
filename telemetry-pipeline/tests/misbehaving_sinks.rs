//! Sinks that misbehave in every call: the failure is caught, named and counted, and other sinks work on.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt;
use std::panic::panic_any;
use std::pin::Pin;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use telemetry_core::{
    Action, Batch, BuiltSink, Event, Options, RunId, Severity, Signal, SignalSet, Sink, SinkContext,
    SinkEntry, SinkError, SinkOptions, SpoolOptions, Written,
};
use telemetry_pipeline::{
    Pipeline, PipelineConfig, ShutdownReport, SinkLedger, SinkSpec, SinkState, Telemetry,
};
use telemetry_testkit::{CaptureSink, DEADLINE, FaultySink, Move, READY_MADE, Seen, block_on, ready_made};

/// The call in which a sink misbehaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Write,
    Flush,
    Shutdown,
}

/// How it misbehaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Misbehavior {
    Panic,
    /// Panics before it returns a future.
    PanicAtOnce,
    /// Panics with a payload that is not text.
    PanicWithANumber,
    /// Panics with a payload that panics again when it is dropped.
    PanicWithABomb,
    /// Returns an error that panics when it is formatted.
    ErrorThatPanics,
    Hang,
    Block,
}

/// Panics when dropped.
#[derive(Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a bomb was dropped");
    }
}

/// Panics when formatted.
#[derive(Debug)]
struct PanicsInDisplay;

impl fmt::Display for PanicsInDisplay {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("in display")
    }
}

impl std::error::Error for PanicsInDisplay {}

impl Misbehavior {
    async fn run(self) -> Result<(), SinkError> {
        match self {
            Self::Panic | Self::PanicAtOnce => panic!("on purpose"),
            Self::PanicWithANumber => panic_any(7),
            Self::PanicWithABomb => panic_any(Bomb),
            Self::ErrorThatPanics => Err(SinkError::reject("look at the cause").source(PanicsInDisplay)),
            Self::Hang => std::future::pending().await,
            Self::Block => loop {
                std::thread::park();
            },
        }
    }
}

/// Misbehaves in one call.
struct Hostile(Call, Misbehavior);

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SinkError>> + Send + 'a>>;

impl Hostile {
    fn call<'a, T: Send + 'a>(&self, call: Call, otherwise: T) -> Answer<'a, T> {
        let misbehavior = (self.0 == call).then_some(self.1);
        assert_ne!(misbehavior, Some(Misbehavior::PanicAtOnce), "on purpose");
        Box::pin(async move {
            match misbehavior {
                Some(misbehavior) => misbehavior.run().await.map(|()| otherwise),
                None => Ok(otherwise),
            }
        })
    }
}

/// This is written out because such a function can panic before it returns a future.
impl Sink for Hostile {
    fn write<'me, 'batch, 'b, 'f>(&'me mut self, _: &'batch Batch<'b>) -> Answer<'f, Written>
    where
        'me: 'f,
        'batch: 'f,
        'b: 'f,
        Self: 'f,
    {
        self.call(Call::Write, Written::ALL)
    }

    fn flush<'me, 'f>(&'me mut self) -> Answer<'f, ()>
    where
        'me: 'f,
        Self: 'f,
    {
        self.call(Call::Flush, ())
    }

    fn shutdown<'f>(self: Box<Self>) -> Answer<'f, ()>
    where
        Self: 'f,
    {
        self.call(Call::Shutdown, ())
    }
}

static HOSTILE: SinkEntry = SinkEntry { name: "hostile", summary: "", keys: &[], build: READY_MADE.build };

fn build(built: BuiltSink) -> SinkSpec {
    SinkSpec { entry: &HOSTILE, context: ready_made(built) }
}

/// Starts a pipeline with this sink and a sound one.
fn start(built: BuiltSink) -> (Pipeline, Telemetry, Seen) {
    let (sound, seen) = CaptureSink::new();
    let specs = vec![build(built), SinkSpec { entry: &READY_MADE, context: ready_made(sound.built()) }];
    let pipeline = Pipeline::start(specs, PipelineConfig::default()).unwrap();
    let telemetry = pipeline.telemetry();
    (pipeline, telemetry, seen)
}

fn log(telemetry: &Telemetry) {
    telemetry.log_event(Event::log(Severity::Info, "x"));
}

fn assert_balanced(sink: &SinkLedger) {
    assert_eq!(sink.accepted, sink.delivered + sink.failed + sink.dropped + sink.pending, "{sink:?}");
}

/// Logs, flushes, logs and shuts down. Checks that the sound sink got everything. Returns the ledger of the
/// other.
fn run_beside_a_sound_one(built: BuiltSink) -> (SinkLedger, ShutdownReport) {
    let (pipeline, telemetry, seen) = start(built);
    log(&telemetry);
    seen.wait_for(1);
    let flushed = block_on(telemetry.flush(Duration::from_millis(300)));
    assert!(
        flushed.sinks.iter().any(|(name, outcome)| name == "ready-made" && outcome.is_ok()),
        "{flushed:?}"
    );
    log(&telemetry);
    seen.wait_for(2);
    let started = Instant::now();
    let report = pipeline.shutdown(Duration::from_millis(500));
    assert!(started.elapsed() < DEADLINE / 2, "{:?}", started.elapsed());
    assert!(seen.is_shut_down());
    for sink in &report.ledger.sinks {
        assert_balanced(sink);
        assert_eq!(sink.pending, sink.spooled, "{sink:?}");
    }
    (report.ledger.sinks[0].clone(), report)
}

#[test]
fn every_misbehavior_of_a_sink_is_caught_named_and_counted() {
    let misbehaviors = [
        (Misbehavior::Panic, "the sink panicked: on purpose"),
        (Misbehavior::PanicAtOnce, "on purpose"),
        (Misbehavior::PanicWithANumber, "the sink panicked: no message"),
        (Misbehavior::PanicWithABomb, "the sink panicked: no message"),
        (Misbehavior::ErrorThatPanics, "the sink panicked: in display"),
    ];
    for call in [Call::Write, Call::Flush, Call::Shutdown] {
        for (misbehavior, message) in misbehaviors {
            let (sink, report) =
                run_beside_a_sound_one(BuiltSink::new(Hostile(call, misbehavior), SignalSet::ALL));
            let lost = if call == Call::Write { 2 } else { u64::from(call == Call::Flush) };
            assert_eq!(sink.failed + sink.dropped, lost, "{call:?} {misbehavior:?}: {sink:?}");
            assert_eq!(sink.state, SinkState::Failed, "{call:?} {misbehavior:?}");
            assert!(
                sink.last_error.as_deref().unwrap().contains(message),
                "{call:?} {misbehavior:?}: {sink:?}"
            );
            assert_eq!(report.abandoned, [""; 0], "{call:?} {misbehavior:?}");
        }
        for misbehavior in [Misbehavior::Hang, Misbehavior::Block] {
            let (sink, report) =
                run_beside_a_sound_one(BuiltSink::new(Hostile(call, misbehavior), SignalSet::ALL));
            if (call, misbehavior) == (Call::Flush, Misbehavior::Hang) {
                // The call is cancelled, and the sink works on.
                assert_eq!((sink.delivered, sink.state), (2, SinkState::Closed), "{sink:?}");
                continue;
            }
            assert_eq!(report.abandoned, ["hostile"], "{call:?} {misbehavior:?}");
            assert_eq!(sink.state, SinkState::Failed, "{call:?} {misbehavior:?}: {sink:?}");
            assert_eq!(
                sink.last_error.as_deref(),
                Some("its thread did not end in time"),
                "{call:?} {misbehavior:?}"
            );
        }
    }
}

/// A sink that panics when it is dropped, after a call has ended it.
struct DropPanics(Action);

impl Drop for DropPanics {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped on purpose");
    }
}

#[async_trait]
impl Sink for DropPanics {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        match self.0 {
            Action::Close => Err(SinkError::close("enough")),
            Action::Reject => Err(SinkError::reject("not this")),
            Action::Retry { .. } => Ok(batch.delivered()),
        }
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

#[test]
fn a_sink_that_panics_when_it_is_dropped_is_counted() {
    for (action, state) in [
        (Action::Close, SinkState::Closed),
        (Action::Reject, SinkState::Failed),
        (Action::Retry { after: None }, SinkState::Failed),
    ] {
        let (sink, report) = run_beside_a_sound_one(BuiltSink::new(DropPanics(action), SignalSet::ALL));
        assert_eq!((sink.accepted, sink.state), (2, state), "{sink:?}");
        assert_eq!(report.abandoned, [""; 0], "{action:?}");
    }
}

/// A sink whose write never ends, and panics when the timeout drops it.
struct PanicsWhenCancelled;

#[async_trait]
impl Sink for PanicsWhenCancelled {
    async fn write(&mut self, _: &Batch<'_>) -> Result<Written, SinkError> {
        let _bomb = Bomb;
        std::future::pending().await
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

#[test]
fn a_write_that_panics_when_it_is_cancelled_is_retried() {
    let options = SinkOptions {
        write_timeout: Some(Duration::from_millis(5)),
        retry_for: Some(Duration::ZERO),
        ..SinkOptions::default()
    };
    let built = BuiltSink::new(PanicsWhenCancelled, SignalSet::ALL).with_options(options);
    let (sink, _) = run_beside_a_sound_one(built);
    assert_eq!((sink.failed, sink.state), (2, SinkState::Closed), "{sink:?}");
}

#[test]
fn a_sink_that_returns_after_it_was_abandoned_is_not_counted_twice() {
    let (faulty, script) = FaultySink::new([Move::Block]);
    let (pipeline, telemetry, _) = start(faulty.built());
    log(&telemetry);
    let deadline = Instant::now() + DEADLINE;
    while script.left() > 0 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let report = pipeline.shutdown(Duration::from_millis(50));
    assert_eq!(report.abandoned, ["hostile"]);
    script.release();
    script.seen().wait_for_shutdown();
    let sink = telemetry.ledger().sinks.swap_remove(0);
    assert_eq!((sink.accepted, sink.dropped, sink.delivered), (1, 1, 0), "{sink:?}");
    assert_balanced(&sink);
}

#[test]
fn numbers_that_a_sink_answers_are_bounded() {
    let (faulty, _) = FaultySink::new([Move::DeliverBut(u64::MAX), Move::RetryAfterStoring(usize::MAX)]);
    let (sink, _) = run_beside_a_sound_one(faulty.built());
    assert_eq!((sink.failed, sink.delivered), (1, 1), "{sink:?}");

    // A time that no clock can represent.
    let (faulty, _) = FaultySink::new([Move::Retry(Some(Duration::MAX))]);
    let (sink, _) = run_beside_a_sound_one(faulty.built());
    assert_eq!((sink.accepted, sink.state), (2, SinkState::Closed), "{sink:?}");
}

#[test]
fn a_sink_works_with_extreme_options() {
    let folder = tempfile::tempdir().unwrap();
    let spool = SpoolOptions { path: folder.path().to_owned(), max_bytes: 1 << 20 };
    let none = SinkOptions { batch_signals: 0, spool: Some(spool), ..SinkOptions::default() };
    let all = SinkOptions {
        batch_age: Duration::MAX,
        write_timeout: Some(Duration::MAX),
        retry_for: Some(Duration::MAX),
        queue_bytes: usize::MAX,
        batch_signals: usize::MAX,
        ..SinkOptions::default()
    };
    for options in [none, all] {
        let (capture, _) = CaptureSink::new();
        let (sink, _) = run_beside_a_sound_one(capture.built().with_options(options.clone()));
        assert_eq!(sink.delivered, 2, "{options:?}: {sink:?}");
    }
}

#[test]
fn a_spool_of_an_earlier_run_is_read_also_if_batch_signals_is_0() {
    let folder = tempfile::tempdir().unwrap();
    let spool = SpoolOptions { path: folder.path().to_owned(), max_bytes: 1 << 20 };
    let options = SinkOptions { batch_signals: 0, spool: Some(spool), ..SinkOptions::default() };
    let (faulty, _) = FaultySink::new([Move::Retry(Some(Duration::MAX)); 100]);
    let (first, _) = run_beside_a_sound_one(faulty.built().with_options(options.clone()));
    assert_eq!(first.spooled, 2, "{first:?}");
    let (pipeline, _, _) = start({
        let (capture, _) = CaptureSink::new();
        capture.built().with_options(options)
    });
    let report = pipeline.shutdown(DEADLINE);
    assert_eq!(report.ledger.sinks[0].delivered, 2, "{report:?}");
}

/// Returns a sink with this build function, which fails.
fn unbuildable(name: &'static str, build: telemetry_core::BuildFn) -> SinkSpec {
    let entry = Box::leak(Box::new(SinkEntry { name, summary: "", keys: &[], build }));
    let context = SinkContext { service_name: "test".into(), options: Options::default(), run: RunId(1) };
    SinkSpec { entry, context }
}

#[test]
fn every_failed_build_is_named_and_the_other_sinks_are_shut_down() {
    let (sound, seen) = CaptureSink::new();
    // A built sink whose shutdown panics does not prevent the others' shutdown.
    let specs = vec![
        unbuildable("at-once", |_| panic!("before the future")),
        unbuildable("number", |_| Box::pin(async { panic_any(7) })),
        unbuildable("bomb", |_| Box::pin(async { panic_any(Bomb) })),
        unbuildable("hangs", |_| Box::pin(std::future::pending())),
        unbuildable("blocks", |_| {
            Box::pin(async {
                loop {
                    std::thread::park();
                }
            })
        }),
        build(BuiltSink::new(Hostile(Call::Shutdown, Misbehavior::Panic), SignalSet::ALL)),
        SinkSpec { entry: &READY_MADE, context: ready_made(sound.built()) },
    ];
    let config = PipelineConfig { build_within: Duration::from_millis(300), ..PipelineConfig::default() };
    let started = Instant::now();
    let error = Pipeline::start(specs, config).unwrap_err();
    assert!(started.elapsed() < DEADLINE / 2);
    let messages: Vec<String> =
        error.failures.iter().map(|(name, failure)| format!("{name}: {failure}")).collect();
    assert_eq!(
        messages,
        [
            "at-once: the sink panicked while it was built: before the future",
            "number: the sink panicked while it was built: no message",
            "bomb: the sink panicked while it was built: no message",
            "hangs: the sink was not ready within 300ms",
            "blocks: the sink was not ready within 300ms",
        ]
    );
    assert!(seen.is_shut_down());
}

#[test]
fn a_sink_receives_only_signals_of_its_interest() {
    let (capture, seen) = CaptureSink::new();
    let mut built = capture.built();
    built.interest = SignalSet::METRIC;
    let (pipeline, telemetry, _) = start(built);
    log(&telemetry);
    telemetry.log_event(Event::metric("m", 1, "1"));
    pipeline.shutdown(DEADLINE);
    assert!(matches!(&seen.signals()[..], [Signal::Metric(_)]), "{:?}", seen.signals());
}
