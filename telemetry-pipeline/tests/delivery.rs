//! The pipeline with good and bad sinks: nothing is lost silently, and nobody waits forever.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use telemetry_core::{
    Attributes, Event, EventContext, Options, RunId, Severity, Signal, SinkContext, SinkEntry, SinkError,
    SinkOptions, SpanEvent, SpanState, SpanStatus, Submission, Ttl, attrs,
};
use telemetry_pipeline::{
    FutureExt as _, Pipeline, PipelineConfig, SinkSpec, SinkState, SubmitError, Telemetry, current_span,
};
use telemetry_testkit::{DEADLINE, FaultySink, Move, READY_MADE, Script, block_on, ready_made};

/// Builds sinks that follow a script.
static SCRIPTED: SinkEntry = SinkEntry { name: "scripted", summary: "", keys: &[], build: READY_MADE.build };

static UNBUILDABLE: SinkEntry = SinkEntry {
    name: "unbuildable",
    summary: "fails to build",
    keys: &[],
    build: |_| Box::pin(async { Err(SinkError::close("no disk").with("path", "/x")) }),
};

static PANICKING: SinkEntry = SinkEntry {
    name: "panicking",
    summary: "",
    keys: &[],
    build: |_| Box::pin(async { panic!("at build") }),
};

/// Returns a sink that follows these moves, and its script.
fn scripted(moves: &[Move]) -> (SinkSpec, Script) {
    let (sink, script) = FaultySink::new(moves.iter().copied());
    let options = SinkOptions { batch_signals: 1, ..SinkOptions::default() };
    (SinkSpec { entry: &SCRIPTED, context: ready_made(sink.built().with_options(options)) }, script)
}

fn start(moves: &[Move]) -> (Pipeline, Script) {
    let (spec, script) = scripted(moves);
    (Pipeline::start(vec![spec], PipelineConfig::default()).unwrap(), script)
}

/// Starts a pipeline of a sink that makes one bad move, and of a sound sink.
fn start_beside_a_sound_sink(bad: Move) -> (Pipeline, Script, Script) {
    let ((bad, bad_script), (sound, sound_script)) = (scripted(&[bad]), scripted(&[]));
    let pipeline = Pipeline::start(vec![bad, sound], PipelineConfig::default()).unwrap();
    (pipeline, bad_script, sound_script)
}

fn log(telemetry: &Telemetry, message: &'static str) {
    telemetry.log_event(Event::log(Severity::Info, message));
}

fn submission(message: &'static str) -> Vec<Submission> {
    vec![Submission::Event { event: Event::log(Severity::Info, message), ttl: Ttl::default() }]
}

fn assert_balanced(telemetry: &Telemetry) {
    for sink in telemetry.ledger().sinks {
        assert_eq!(sink.accepted, sink.delivered + sink.failed + sink.dropped + sink.pending, "{sink:?}");
    }
}

#[test]
fn a_span_arrives_with_its_log_and_metric() {
    let (pipeline, script) = start(&[]);
    let telemetry = pipeline.telemetry();
    {
        let mut span = telemetry.span("chat", attrs! { "a" => 1 });
        span.log(Severity::Warn, "slow");
        span.metric("tokens", 3, "tokens", attrs! {});
        span.set_attribute("b", 2);
        span.fail();
    }
    let seen = script.seen().wait_for(4);
    let Signal::SpanEnded(span) = &seen[3] else { panic!("{seen:?}") };
    assert_eq!((span.name.as_ref(), span.status), ("chat", Some(SpanStatus::Error)));
    assert_eq!(span.attributes, attrs! { "a" => 1, "b" => 2 });
    assert!(matches!(&span.events[..], [SpanEvent::Log(_), SpanEvent::Metric(_)]), "{span:?}");
    assert!(span.end_time.unwrap() >= span.start_time);
    assert_balanced(&telemetry);
}

#[test]
fn a_receipt_without_a_store_completes_once_queued() {
    let (pipeline, script) = start(&[]);
    pipeline.telemetry().submit(submission("x")).unwrap().wait(DEADLINE).unwrap();
    script.seen().wait_for(1);
}

#[test]
fn a_retry_delivers_once() {
    let (pipeline, script) = start(&[Move::Retry(Some(Duration::ZERO)); 2]);
    log(&pipeline.telemetry(), "x");
    assert_eq!(script.seen().wait_for(1).len(), 1);
    let report = pipeline.shutdown(DEADLINE);
    let sink = &report.ledger.sinks[0];
    assert_eq!((sink.accepted, sink.delivered, sink.retries), (1, 1, 2));
}

#[test]
fn a_rejected_batch_is_counted_with_its_reason_and_the_next_is_delivered() {
    let (pipeline, script) = start(&[Move::Reject]);
    let telemetry = pipeline.telemetry();
    log(&telemetry, "lost");
    // A flush between them separates their batches.
    assert!(block_on(telemetry.flush(DEADLINE)).is_complete());
    log(&telemetry, "kept");
    script.seen().wait_for(1);
    let report = pipeline.shutdown(DEADLINE);
    assert_eq!((report.ledger.sinks[0].delivered, report.ledger.sinks[0].failed), (1, 1));
    assert_eq!(report.ledger.sinks[0].reasons["scripted to reject this"], 1);
}

#[test]
fn a_closed_or_panicking_sink_disturbs_no_other() {
    for (bad, state) in [(Move::Close, SinkState::Closed), (Move::Panic, SinkState::Failed)] {
        let (pipeline, _, sound) = start_beside_a_sound_sink(bad);
        let telemetry = pipeline.telemetry();
        log(&telemetry, "one");
        sound.seen().wait_for(1);
        assert!(!block_on(telemetry.flush(DEADLINE)).is_complete(), "the broken sink can't flush");
        log(&telemetry, "two");
        sound.seen().wait_for(2);
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
        let (pipeline, stuck, sound) = start_beside_a_sound_sink(bad);
        log(&pipeline.telemetry(), "x");
        sound.seen().wait_for(1);
        let started = Instant::now();
        let report = pipeline.shutdown(Duration::from_millis(200));
        assert!(started.elapsed() < DEADLINE / 2);
        assert_eq!(report.abandoned, ["scripted"]);
        assert_eq!(report.ledger.sinks[0].reasons["shutdown"], 1);
        stuck.release();
    }
}

#[test]
fn overflow_is_refused_and_counted() {
    let config = PipelineConfig { queue_slots: 1, queue_bytes: 4_096, ..PipelineConfig::default() };
    let pipeline = Pipeline::start(vec![scripted(&[]).0], config).unwrap();
    let telemetry = pipeline.telemetry();
    let large = Event::log(Severity::Info, "x".repeat(10_000));
    telemetry.log_event(large.clone());
    let submitted = telemetry.submit(vec![Submission::Event { event: large, ttl: Ttl::default() }]);
    assert!(submitted.is_ok(), "the byte budget of the queue is for logged events only");
    let ledger = telemetry.ledger();
    assert!(ledger.ingest.refused_full >= 1, "{ledger:?}");
}

/// Runs `threads` threads that each make `spans` spans with `logs` logs, with few slots, and checks that every span whose
/// start was accepted has its end.
fn overload_leaves_no_open_span(slots: usize, threads: usize, spans: usize, logs: usize) {
    let (spec, script) = scripted(&[]);
    let config = PipelineConfig { queue_slots: slots, ..PipelineConfig::default() };
    let pipeline = Pipeline::start(vec![spec], config).unwrap();
    let telemetry = pipeline.telemetry();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..spans {
                    let mut span = telemetry.span("s", Attributes::default());
                    span.set_attribute("key", 1);
                    for _ in 0..logs {
                        span.log(Severity::Info, "line");
                    }
                }
            });
        }
    });
    let refused = telemetry.ledger().ingest.refused_full;
    pipeline.shutdown(DEADLINE);
    let seen = script.seen().signals();
    let count = |kind: fn(&Signal) -> bool| seen.iter().filter(|signal| kind(signal)).count();
    let started = count(|signal| matches!(signal, Signal::SpanStarted(_)));
    let ended = count(
        |signal| matches!(signal, Signal::SpanEnded(span) if span.state == SpanState::Ended && span.attributes.len() == 1),
    );
    assert!(started > 0 && refused > 0, "{started} started, {refused} refused: no overload");
    assert_eq!(started, ended, "{refused} events were refused");
}

#[test]
fn every_span_that_starts_under_overload_ends() {
    overload_leaves_no_open_span(1_024, 1, 50, 3_000);
    overload_leaves_no_open_span(64, 4, 2_000, 4);
}

#[test]
fn nothing_is_accepted_after_a_shutdown() {
    let (pipeline, _) = start(&[]);
    let telemetry = pipeline.telemetry();
    let span = telemetry.span("outlives the pipeline", attrs! {});
    pipeline.shutdown(DEADLINE);
    log(&telemetry, "late");
    assert!(matches!(telemetry.submit(submission("late")), Err(SubmitError::Closed(_))));
    drop(span);
    assert_eq!(telemetry.ledger().ingest.refused_closed, 3);
}

#[test]
fn a_flush_after_a_shutdown_says_closed_at_once() {
    let (pipeline, _script) = start(&[]);
    let telemetry = pipeline.telemetry();
    pipeline.shutdown(DEADLINE);
    let report = block_on(telemetry.flush(Duration::MAX));
    assert_eq!(report.sinks, [("scripted".to_owned(), Err("the pipeline is closed".to_owned()))]);
}

#[test]
fn the_longest_wait_is_no_panic() {
    let (pipeline, _script) = start(&[]);
    let telemetry = pipeline.telemetry();
    assert!(telemetry.submit(submission("m")).unwrap().wait(Duration::MAX).is_ok());
    assert!(block_on(telemetry.flush(Duration::MAX)).is_complete());
    assert!(pipeline.shutdown(Duration::MAX).abandoned.is_empty());
}

#[test]
fn a_pipeline_can_be_shared_between_threads() {
    static PIPELINE: std::sync::OnceLock<Pipeline> = std::sync::OnceLock::new();
    let pipeline = PIPELINE.get_or_init(|| start(&[]).0);
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(pipeline.telemetry().is_enabled()));
    });
}

#[test]
fn all_sinks_that_fail_to_start_are_named() {
    let failing = |entry| {
        let options = Options::default();
        SinkSpec { entry, context: SinkContext { service_name: "test".into(), options, run: RunId(1) } }
    };
    let specs = vec![failing(&UNBUILDABLE), scripted(&[]).0, failing(&PANICKING)];
    let error = Pipeline::start(specs, PipelineConfig::default()).unwrap_err();
    let expected = "sink `unbuildable`: no disk (path: /x); sink `panicking`: the sink panicked while it was built: at build";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_panic_ends_the_span_as_failed() {
    let (pipeline, script) = start(&[]);
    let telemetry = pipeline.telemetry();
    let panicked = std::thread::spawn(move || {
        let _span = telemetry.span("doomed", attrs! {});
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    let seen = script.seen().wait_for(2);
    assert!(matches!(&seen[1], Signal::SpanEnded(span) if span.status == Some(SpanStatus::Error)));
}

#[test]
fn guards_may_be_dropped_in_any_order() {
    let (pipeline, script) = start(&[]);
    let telemetry = pipeline.telemetry();
    let outer = telemetry.span("outer", attrs! {});
    let inner = outer.child("inner", attrs! {});
    let (outer_key, inner_key) = (outer.key(), inner.key());
    drop(outer);
    drop(inner);
    let seen = script.seen().wait_for(4);
    let parent_of_inner = seen.iter().find_map(|signal| match signal {
        Signal::SpanEnded(span) if span.span_id == inner_key.span_id => span.parent_span_id,
        _ => None,
    });
    assert_eq!(parent_of_inner, Some(outer_key.span_id));
}

#[test]
fn interleaved_tasks_never_share_a_current_span() {
    const TASKS: usize = 2_000;
    let (pipeline, script) = start(&[]);
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
    script.seen().wait_for(2 * TASKS);
    assert_balanced(&telemetry);
}

#[test]
fn an_event_without_a_context_belongs_to_the_current_span() {
    let (pipeline, script) = start(&[]);
    let telemetry = pipeline.telemetry();
    let span = telemetry.span("s", Attributes::default());
    {
        let _entered = span.enter();
        log(&telemetry, "inside");
    }
    log(&telemetry, "outside");
    let contexts: Vec<EventContext> = script
        .seen()
        .wait_for(3)
        .iter()
        .filter_map(|signal| match signal {
            Signal::Log(log) => Some(log.context),
            _ => None,
        })
        .collect();
    assert_eq!(contexts, [EventContext::Span(span.key()), EventContext::None]);
}
