//! The machine under good and bad sinks: nothing is lost silently, nobody waits for ever.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use telemetry_core::{
    Attributes, Batch, BuiltSink, Event, EventContext, Options, RunId, Severity, Signal, SignalSet, Sink,
    SinkContext, SinkEntry, SinkError, SinkOptions, SpanEvent, SpanStatus, Submission, Ttl, Written, attrs,
};
use telemetry_pipeline::{
    FutureExt as _, Pipeline, PipelineConfig, SinkSpec, SinkState, SubmitError, Telemetry, current_span,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// What a scripted sink does with a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Move {
    Deliver,
    Retry,
    Reject,
    Close,
    Panic,
    Hang,
    Block,
}

/// Shared between a scripted sink and its test.
#[derive(Default)]
struct Stage {
    seen: Mutex<Vec<Signal>>,
    script: Mutex<VecDeque<Move>>,
    changed: Condvar,
    released: AtomicBool,
}

impl Stage {
    fn with_script(moves: &[Move]) -> Arc<Self> {
        let stage = Self::default();
        stage.script.lock().unwrap().extend(moves);
        Arc::new(stage)
    }

    fn wait_for(&self, signals: usize) -> Vec<Signal> {
        let seen = self.seen.lock().unwrap();
        let (seen, timeout) =
            self.changed.wait_timeout_while(seen, DEADLINE, |seen| seen.len() < signals).unwrap();
        assert!(!timeout.timed_out(), "only {} of {signals} signals", seen.len());
        seen.clone()
    }
}

struct Scripted(Arc<Stage>);

#[async_trait]
impl Sink for Scripted {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let next = self.0.script.lock().unwrap().pop_front().unwrap_or(Move::Deliver);
        match next {
            Move::Deliver => {
                self.0.seen.lock().unwrap().extend(batch.iter().cloned());
                self.0.changed.notify_all();
                Ok(batch.delivered())
            }
            Move::Retry => Err(SinkError::retry("not now").after(Duration::ZERO)),
            Move::Reject => Err(SinkError::reject("never this")),
            Move::Close => Err(SinkError::close("never again")),
            Move::Panic => panic!("scripted"),
            Move::Hang => std::future::pending().await,
            Move::Block => {
                while !self.0.released.load(Ordering::Relaxed) {
                    std::thread::park_timeout(Duration::from_millis(1));
                }
                Ok(batch.delivered())
            }
        }
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Stages by the number in a sink's options: a build function has no captures.
static STAGES: Mutex<Vec<Arc<Stage>>> = Mutex::new(Vec::new());

static SCRIPTED: SinkEntry = SinkEntry {
    name: "scripted",
    summary: "does as it is told",
    keys: &[],
    build: |context| {
        Box::pin(async move {
            let number: usize = context.options.integer("stage").unwrap().unwrap();
            let stage = Arc::clone(&STAGES.lock().unwrap()[number]);
            let options = SinkOptions { batch_signals: 1, queue_bytes: 16 << 20, ..SinkOptions::default() };
            Ok(BuiltSink::new(Scripted(stage), SignalSet::ALL).with_options(options))
        })
    },
};

static UNBUILDABLE: SinkEntry = SinkEntry {
    name: "unbuildable",
    summary: "says no",
    keys: &[],
    build: |_| Box::pin(async { Err(SinkError::close("no disk").with("path", "/x")) }),
};

static PANICKING: SinkEntry = SinkEntry {
    name: "panicking",
    summary: "",
    keys: &[],
    build: |_| Box::pin(async { panic!("at build") }),
};

fn spec(entry: &'static SinkEntry, options: Options) -> SinkSpec {
    SinkSpec { entry, context: SinkContext { service_name: "test".into(), options, run: RunId(1) } }
}

fn scripted(stage: &Arc<Stage>) -> SinkSpec {
    let mut stages = STAGES.lock().unwrap();
    stages.push(Arc::clone(stage));
    let number = i64::try_from(stages.len() - 1).unwrap();
    spec(&SCRIPTED, Options::from_pairs([("stage", telemetry_core::OptionValue::Integer(number))]))
}

fn start(stages: &[&Arc<Stage>]) -> Pipeline {
    let specs = stages.iter().map(|stage| scripted(stage)).collect();
    Pipeline::start(specs, PipelineConfig::default()).unwrap()
}

fn log(telemetry: &Telemetry, message: &'static str) {
    telemetry.log_event(Event::log(Severity::Info, message));
}

fn submission(message: &'static str) -> Vec<Submission> {
    vec![Submission::Event { event: Event::log(Severity::Info, message), ttl: Ttl::default() }]
}

fn balanced(telemetry: &Telemetry) {
    for sink in telemetry.ledger().sinks {
        assert_eq!(sink.accepted, sink.delivered + sink.failed + sink.dropped + sink.pending, "{sink:?}");
    }
}

#[test]
fn a_span_arrives_with_its_log_and_metric() {
    let stage = Stage::with_script(&[]);
    let pipeline = start(&[&stage]);
    let telemetry = pipeline.telemetry();
    {
        let mut span = telemetry.span("chat", attrs! { "a" => 1 });
        span.log(Severity::Warn, "slow");
        span.metric("tokens", 3, "tokens", attrs! {});
        span.set_attribute("b", 2);
        span.fail();
    }
    let seen = stage.wait_for(4);
    let Signal::SpanEnded(span) = &seen[3] else { panic!("{seen:?}") };
    assert_eq!((span.name.as_ref(), span.status), ("chat", Some(SpanStatus::Error)));
    assert_eq!(span.attributes, attrs! { "a" => 1, "b" => 2 });
    assert!(matches!(&span.events[..], [SpanEvent::Log(_), SpanEvent::Metric(_)]), "{span:?}");
    assert!(span.end_time.unwrap() >= span.start_time);
    balanced(&telemetry);
}

#[test]
fn a_receipt_without_a_store_completes_once_queued() {
    let stage = Stage::with_script(&[]);
    let pipeline = start(&[&stage]);
    pipeline.telemetry().submit(submission("x")).unwrap().wait(DEADLINE).unwrap();
    stage.wait_for(1);
}

#[test]
fn a_retry_delivers_once() {
    let stage = Stage::with_script(&[Move::Retry, Move::Retry]);
    let pipeline = start(&[&stage]);
    log(&pipeline.telemetry(), "x");
    assert_eq!(stage.wait_for(1).len(), 1);
    let report = pipeline.shutdown(DEADLINE);
    let sink = &report.ledger.sinks[0];
    assert_eq!((sink.accepted, sink.delivered, sink.retries), (1, 1, 2));
}

#[test]
fn a_rejected_batch_is_counted_with_its_reason_and_the_next_is_delivered() {
    let stage = Stage::with_script(&[Move::Reject]);
    let pipeline = start(&[&stage]);
    let telemetry = pipeline.telemetry();
    log(&telemetry, "lost");
    // A flush between them keeps them in different batches.
    assert!(block_on(telemetry.flush(DEADLINE)).is_complete());
    log(&telemetry, "kept");
    stage.wait_for(1);
    let report = pipeline.shutdown(DEADLINE);
    assert_eq!((report.ledger.sinks[0].delivered, report.ledger.sinks[0].failed), (1, 1));
    assert_eq!(report.ledger.sinks[0].reasons["never this"], 1);
}

#[test]
fn a_closed_or_panicking_sink_harms_no_other() {
    for (bad, state) in [(Move::Close, SinkState::Closed), (Move::Panic, SinkState::Failed)] {
        let (broken, sound) = (Stage::with_script(&[bad]), Stage::with_script(&[]));
        let pipeline = start(&[&broken, &sound]);
        let telemetry = pipeline.telemetry();
        log(&telemetry, "one");
        sound.wait_for(1);
        assert!(!block_on(telemetry.flush(DEADLINE)).is_complete(), "the broken sink can't flush");
        log(&telemetry, "two");
        sound.wait_for(2);
        let report = pipeline.shutdown(DEADLINE);
        let ledger = &report.ledger.sinks[0];
        assert_eq!(
            (ledger.state, ledger.accepted, ledger.failed + ledger.dropped),
            (state, 2, 2),
            "{ledger:?}"
        );
        assert_eq!(report.ledger.sinks[1].delivered, 2);
    }
}

#[test]
fn a_hanging_or_blocking_sink_delays_neither_another_nor_the_shutdown() {
    for bad in [Move::Hang, Move::Block] {
        let (stuck, sound) = (Stage::with_script(&[bad]), Stage::with_script(&[]));
        let pipeline = start(&[&stuck, &sound]);
        log(&pipeline.telemetry(), "x");
        sound.wait_for(1);
        let started = std::time::Instant::now();
        let report = pipeline.shutdown(Duration::from_millis(200));
        assert!(started.elapsed() < DEADLINE / 2);
        assert_eq!(report.abandoned, ["scripted"]);
        assert_eq!(report.ledger.sinks[0].reasons["shutdown"], 1);
        stuck.released.store(true, Ordering::Relaxed);
    }
}

#[test]
fn overflow_is_refused_and_counted() {
    let stage = Stage::with_script(&[]);
    let config = PipelineConfig { queue_slots: 1, queue_bytes: 4_096, ..PipelineConfig::default() };
    let pipeline = Pipeline::start(vec![scripted(&stage)], config).unwrap();
    let telemetry = pipeline.telemetry();
    let large = Event::log(Severity::Info, "x".repeat(10_000));
    telemetry.log_event(large.clone());
    let submitted = telemetry.submit(vec![Submission::Event { event: large, ttl: Ttl::default() }]);
    assert!(submitted.is_ok(), "a submission is bounded by whoever submits");
    let ledger = telemetry.ledger();
    assert!(ledger.ingest.refused_full >= 1, "{ledger:?}");
}

#[test]
fn nothing_is_accepted_after_a_shutdown() {
    let stage = Stage::with_script(&[]);
    let pipeline = start(&[&stage]);
    let telemetry = pipeline.telemetry();
    let span = telemetry.span("outlives the pipeline", attrs! {});
    pipeline.shutdown(DEADLINE);
    log(&telemetry, "late");
    assert!(matches!(telemetry.submit(submission("late")), Err(SubmitError::Closed(_))));
    drop(span);
    assert_eq!(telemetry.ledger().ingest.refused_closed, 3);
}

#[test]
fn all_sinks_that_fail_to_start_are_named() {
    let stage = Stage::with_script(&[]);
    let specs =
        vec![spec(&UNBUILDABLE, Options::default()), scripted(&stage), spec(&PANICKING, Options::default())];
    let error = Pipeline::start(specs, PipelineConfig::default()).unwrap_err();
    let expected = "sink `unbuildable`: no disk (path: /x); sink `panicking`: the sink panicked while it was built: at build";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_panic_ends_the_span_as_failed() {
    let stage = Stage::with_script(&[]);
    let pipeline = start(&[&stage]);
    let telemetry = pipeline.telemetry();
    let panicked = std::thread::spawn(move || {
        let _span = telemetry.span("doomed", attrs! {});
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    let seen = stage.wait_for(2);
    assert!(matches!(&seen[1], Signal::SpanEnded(span) if span.status == Some(SpanStatus::Error)));
}

#[test]
fn guards_may_be_dropped_in_any_order() {
    let stage = Stage::with_script(&[]);
    let pipeline = start(&[&stage]);
    let telemetry = pipeline.telemetry();
    let outer = telemetry.span("outer", attrs! {});
    let inner = outer.child("inner", attrs! {});
    let (outer_key, inner_key) = (outer.key(), inner.key());
    drop(outer);
    drop(inner);
    let seen = stage.wait_for(4);
    let parent_of_inner = seen.iter().find_map(|signal| match signal {
        Signal::SpanEnded(span) if span.span_id == inner_key.span_id => span.parent_span_id,
        _ => None,
    });
    assert_eq!(parent_of_inner, Some(outer_key.span_id));
}

#[test]
fn interleaved_tasks_never_share_a_current_span() {
    const TASKS: usize = 2_000;
    let stage = Stage::with_script(&[]);
    let pipeline = start(&[&stage]);
    let telemetry = pipeline.telemetry();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let telemetry = telemetry.clone();
                tokio::spawn(async move {
                    let span = telemetry.root_span("request", attrs! {});
                    let key = span.key();
                    async {
                        for _ in 0..3 {
                            assert_eq!(current_span(), Some(key));
                            tokio::task::yield_now().await;
                        }
                    }
                    .in_span(key)
                    .await;
                    assert_eq!(current_span(), None);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    stage.wait_for(2 * TASKS);
    balanced(&telemetry);
}

#[test]
fn an_event_without_a_context_belongs_to_the_current_span() {
    let stage = Stage::with_script(&[]);
    let pipeline = start(&[&stage]);
    let telemetry = pipeline.telemetry();
    let span = telemetry.span("s", Attributes::default());
    {
        let _entered = span.enter();
        log(&telemetry, "inside");
    }
    log(&telemetry, "outside");
    let contexts: Vec<EventContext> = stage
        .wait_for(3)
        .iter()
        .filter_map(|signal| match signal {
            Signal::Log(log) => Some(log.context),
            _ => None,
        })
        .collect();
    assert_eq!(contexts, [EventContext::Span(span.key()), EventContext::None]);
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
