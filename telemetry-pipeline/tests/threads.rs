//! Programs with very many threads: short-lived ones, and hundreds at the same time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use telemetry_core::{Severity, Signal, Span, attrs};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec, SpanHandle, Telemetry};
use telemetry_testkit::{CaptureSink, READY_MADE, Seen, ready_made};

const DEADLINE: Duration = Duration::from_secs(60);

fn start() -> (Pipeline, Seen) {
    let (sink, seen) = CaptureSink::new();
    let spec = SinkSpec { entry: &READY_MADE, context: ready_made(sink.built()) };
    (Pipeline::start(vec![spec], PipelineConfig::default()).unwrap(), seen)
}

fn ended(signals: &[Signal]) -> Vec<Arc<Span>> {
    let ended = |signal: &Signal| match signal {
        Signal::SpanEnded(span) => Some(Arc::clone(span)),
        _ => None,
    };
    signals.iter().filter_map(ended).collect()
}

#[test]
fn records_of_thousands_of_short_lived_threads_are_complete_and_in_order() {
    const THREADS: usize = 2_000;
    let (pipeline, seen) = start();
    let telemetry = pipeline.telemetry();
    for number in 0..THREADS / 4 {
        let telemetry = telemetry.clone();
        // Each span moves through four threads. It starts on the first and ends on the last.
        let opened = std::thread::spawn(move || telemetry.root_span("span", attrs! { "number" => number }));
        let span = opened.join().unwrap();
        let logged = std::thread::spawn(move || {
            span.log(Severity::Info, "first");
            span
        });
        let mut span = logged.join().unwrap();
        let child = std::thread::spawn(move || {
            drop(span.child("child", attrs! { "number" => number }));
            span.set_attribute("last", true);
            span
        });
        let span = child.join().unwrap();
        std::thread::spawn(move || drop(span)).join().unwrap();
    }
    let report = pipeline.shutdown(DEADLINE);
    assert_eq!((report.ledger.ingest.refused_full, report.ledger.assembler.late), (0, 0));
    let spans = ended(&seen.signals());
    assert_eq!(spans.len(), THREADS / 4 * 2);
    let roots = spans.iter().filter(|span| span.name == "span");
    let roots: HashMap<_, _> = roots.map(|span| (span.span_id, span)).collect();
    for child in spans.iter().filter(|span| span.name == "child") {
        let root = roots[&child.parent_span_id.unwrap()];
        assert_eq!(child.attributes.get("number"), root.attributes.get("number"));
        assert_eq!((child.trace_id, root.events.len(), root.attributes.len()), (root.trace_id, 1, 2));
        assert!(root.start_time <= child.start_time && child.end_time <= root.end_time);
    }
}

#[test]
fn records_of_hundreds_of_living_threads_are_delivered_and_the_shutdown_is_in_time() {
    const THREADS: usize = 500;
    let (pipeline, seen) = start();
    let telemetry = pipeline.telemetry();
    let (logged, shut_down) = (Arc::new(Barrier::new(THREADS + 1)), Arc::new(Barrier::new(THREADS + 1)));
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let (logged, shut_down) = (Arc::clone(&logged), Arc::clone(&shut_down));
            let telemetry = telemetry.clone();
            std::thread::spawn(move || {
                let whole = telemetry.root_span("whole", attrs! { "number" => number });
                whole.log(Severity::Info, "working");
                drop(whole);
                let open = telemetry.root_span("open", attrs! {});
                logged.wait();
                shut_down.wait();
                open.log(Severity::Info, "too late");
                // Its end is too late as well.
            })
        })
        .collect();
    logged.wait();
    let report = pipeline.shutdown(DEADLINE);
    assert!(report.abandoned.is_empty(), "{:?}", report.abandoned);
    shut_down.wait();
    for thread in threads {
        thread.join().unwrap();
    }
    let signals = seen.signals();
    let spans = ended(&signals);
    let mut numbers: Vec<String> =
        spans.iter().map(|span| span.attributes.get("number").unwrap().to_string()).collect();
    numbers.sort();
    numbers.dedup();
    assert_eq!((spans.len(), numbers.len()), (THREADS, THREADS));
    assert!(spans.iter().all(|span| span.events.len() == 1));
    // Each thread logged two starts, a log and an end.
    assert_eq!(signals.len(), 4 * THREADS);
    let ingest = telemetry.ledger().ingest;
    assert_eq!((ingest.refused_full, ingest.refused_closed), (0, 2 * THREADS as u64));
}

/// Uses every method of a handle while its thread ends.
struct LogsWhenDropped(Telemetry, SpanHandle, &'static str);

impl Drop for LogsWhenDropped {
    fn drop(&mut self) {
        let Self(telemetry, span, who) = self;
        span.log(Severity::Info, *who);
        span.metric("dropped", 1, "1", attrs! { "who" => *who });
        span.set_attribute(*who, true);
        drop(span.child(*who, attrs! {}));
        telemetry.current().log(Severity::Info, *who);
        drop(telemetry.span(*who, attrs! {}));
    }
}

thread_local! {
    static EARLY: RefCell<Option<LogsWhenDropped>> = const { RefCell::new(None) };
    static LATE: RefCell<Option<LogsWhenDropped>> = const { RefCell::new(None) };
}

#[test]
fn records_of_an_ending_thread_are_complete() {
    let (pipeline, seen) = start();
    let telemetry = pipeline.telemetry();
    let span = telemetry.root_span("outlives the thread", attrs! {});
    let handle = span.handle();
    let ending = std::thread::spawn(move || {
        // One is set before the pipeline's thread-local state exists, the other after. So one of them is
        // dropped before that state.
        EARLY.set(Some(LogsWhenDropped(telemetry.clone(), handle.clone(), "early")));
        handle.log(Severity::Info, "alive");
        LATE.set(Some(LogsWhenDropped(telemetry.clone(), handle, "late")));
    });
    ending.join().unwrap();
    drop(span);
    pipeline.shutdown(DEADLINE);
    let signals = seen.signals();
    let spans = ended(&signals);
    let whole = spans.iter().find(|span| span.name == "outlives the thread").unwrap();
    assert_eq!(whole.attributes, attrs! { "late" => true, "early" => true }, "{whole:?}");
    assert_eq!(whole.events.len(), 5, "three logs and two metric points: {:?}", whole.events);
    assert_eq!(spans.len(), 5, "itself, two children and two by themselves: {spans:?}");
    let logs = signals.iter().filter(|signal| matches!(signal, Signal::Log(_))).count();
    assert_eq!(logs, 5);
}
