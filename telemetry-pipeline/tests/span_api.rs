//! Span guards: concurrent requests have separate traces in any runtime or none, contexts pass from and to
//! other processes, and careless callers can't break anything.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use telemetry_core::{Event, LogBody, Severity, Signal, Span, SpanKind, SpanStatus, TraceId, Value, attrs};
use telemetry_pipeline::assembler::Sampling;
use telemetry_pipeline::{
    FutureExt as _, Ledger, Pipeline, PipelineConfig, SinkSpec, SpanContext, Telemetry, current_span,
    random_trace_id,
};
use telemetry_testkit::{CaptureSink, READY_MADE, Seen, ready_made};

const DEADLINE: Duration = Duration::from_secs(30);
const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Running {
    pipeline: Pipeline,
    seen: Seen,
}

fn start(config: PipelineConfig) -> Running {
    let (sink, seen) = CaptureSink::new();
    let spec = SinkSpec { entry: &READY_MADE, context: ready_made(sink.built()) };
    Running { pipeline: Pipeline::start(vec![spec], config).unwrap(), seen }
}

impl Running {
    fn telemetry(&self) -> Telemetry {
        self.pipeline.telemetry()
    }

    fn finish(self) -> (Vec<Signal>, Ledger) {
        let report = self.pipeline.shutdown(DEADLINE);
        assert!(report.abandoned.is_empty());
        (self.seen.signals(), report.ledger)
    }
}

fn ended(signals: &[Signal]) -> Vec<Arc<Span>> {
    let ended = |signal: &Signal| match signal {
        Signal::SpanEnded(span) => Some(Arc::clone(span)),
        _ => None,
    };
    signals.iter().filter_map(ended).collect()
}

fn span(signals: &[Signal], name: &str) -> Arc<Span> {
    ended(signals).into_iter().find(|span| span.name == name).unwrap()
}

/// Yields once to other tasks.
fn yield_once() -> impl Future<Output = ()> {
    let mut has_yielded = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Runs a request with three steps. Each part finds its span by the current span alone.
async fn request(telemetry: Telemetry, number: usize) {
    let request = telemetry.root_span("request", attrs! { "number" => number });
    let key = request.key();
    async {
        for _ in 0..3 {
            yield_once().await;
            assert_eq!(current_span(), Some(key));
            let step = telemetry.span("step", attrs! { "number" => number });
            async {
                yield_once().await;
                telemetry.log_event(
                    Event::log(Severity::Info, "working").with_attributes(attrs! { "number" => number }),
                );
            }
            .in_span(step.context())
            .await;
        }
    }
    .in_span(key)
    .await;
    assert_eq!(current_span(), None);
}

const REQUESTS: usize = 2_000;

fn requests_do_not_mix(run: impl FnOnce(Telemetry)) {
    // Room for all records, in case the assembler thread does not run meanwhile.
    let running = start(PipelineConfig { queue_slots: 1 << 16, ..PipelineConfig::default() });
    run(running.telemetry());
    let (signals, ledger) = running.finish();
    assert_eq!((ledger.ingest.refused_full, ledger.assembler.late), (0, 0), "{ledger:?}");
    let spans = ended(&signals);
    assert_eq!(spans.len(), 4 * REQUESTS);
    let mut numbers: HashMap<TraceId, &Value> = HashMap::new();
    for span in &spans {
        let number = span.attributes.get("number").unwrap();
        assert_eq!(*numbers.entry(span.trace_id).or_insert(number), number);
        let logs = usize::from(span.name == "step");
        assert_eq!(span.events.len(), logs, "{span:?}");
    }
    assert_eq!(numbers.len(), REQUESTS);
}

async fn spawn_all(telemetry: Telemetry, numbers: Range<usize>) {
    let running: Vec<_> = numbers.map(|number| tokio::spawn(request(telemetry.clone(), number))).collect();
    for request in running {
        request.await.unwrap();
    }
}

#[test]
fn concurrent_requests_do_not_mix_on_many_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    requests_do_not_mix(|telemetry| runtime.block_on(spawn_all(telemetry, 0..REQUESTS)));
}

#[test]
fn concurrent_requests_do_not_mix_on_one_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    requests_do_not_mix(|telemetry| runtime.block_on(spawn_all(telemetry, 0..REQUESTS)));
}

#[test]
fn concurrent_requests_do_not_mix_in_several_runtimes() {
    requests_do_not_mix(|telemetry| {
        let (half, quarter) = (REQUESTS / 2, REQUESTS / 4);
        let many = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        std::thread::scope(|scope| {
            for from in [0, quarter] {
                let telemetry = telemetry.clone();
                scope.spawn(move || {
                    let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    one.block_on(spawn_all(telemetry, from..from + quarter));
                });
            }
            many.block_on(spawn_all(telemetry.clone(), half..REQUESTS));
        });
    });
}

#[test]
fn a_panicking_task_fails_its_own_span_only() {
    let running = start(PipelineConfig::default());
    let telemetry = running.telemetry();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let panicked = runtime.block_on(async {
        let doomed = telemetry.root_span("doomed", attrs! {});
        let context = doomed.context();
        let task = async move {
            let _doomed = doomed;
            yield_once().await;
            panic!("on purpose");
        };
        let doomed = tokio::spawn(task.in_span(context));
        let other = tokio::spawn(request(telemetry.clone(), 1));
        other.await.unwrap();
        doomed.await
    });
    assert!(panicked.is_err_and(|error| error.is_panic()));
    assert_eq!(current_span(), None);
    let (signals, _) = running.finish();
    assert_eq!(span(&signals, "doomed").status, Some(SpanStatus::Error));
    assert_eq!(span(&signals, "request").status, Some(SpanStatus::Ok));
}

#[test]
fn concurrent_requests_do_not_mix_without_a_runtime() {
    requests_do_not_mix(|telemetry| {
        let mut running: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
        running
            .extend((0..REQUESTS).map(|number| Box::pin(request(telemetry.clone(), number)) as Pin<Box<_>>));
        let mut context = Context::from_waker(Waker::noop());
        while !running.is_empty() {
            running.retain_mut(|request| request.as_mut().poll(&mut context).is_pending());
        }
    });
}

#[test]
fn a_parent_may_be_used_on_another_thread() {
    let running = start(PipelineConfig::default());
    let telemetry = running.telemetry();
    let parent = telemetry.span("parent", attrs! {});
    let key = parent.key();
    let child = std::thread::spawn(move || telemetry.span_below(key, "child", attrs! {}));
    drop(child.join().unwrap());
    drop(parent);
    let (signals, _) = running.finish();
    let child = span(&signals, "child");
    assert_eq!((child.trace_id, child.parent_span_id), (key.trace_id, Some(key.span_id)));
}

#[test]
fn an_error_fails_the_span_and_becomes_an_attribute() {
    let running = start(PipelineConfig::default());
    running.telemetry().span("s", attrs! {}).record_error(&"no such model");
    let (signals, _) = running.finish();
    let failed = span(&signals, "s");
    assert_eq!(failed.status, Some(SpanStatus::Error));
    assert_eq!(failed.attributes, attrs! { "error" => "no such model" });
}

#[test]
fn a_remote_trace_is_continued_and_passed_on_with_its_state() {
    let running = start(PipelineConfig::default());
    let remote = HEADER.parse().unwrap();
    let attributes = attrs! { "tracestate" => "vendor=1" };
    let request = running.telemetry().continue_trace(remote, "request", attributes);
    let call = request.child("call", attrs! {});
    assert_eq!(call.traceparent(), format!("00-{}-{}-01", remote.parent.trace_id, call.key().span_id));
    assert_eq!(call.tracestate(), Some("vendor=1"));
    drop((call, request));
    let (signals, _) = running.finish();
    let request = span(&signals, "request");
    assert_eq!(request.key().trace_id, remote.parent.trace_id);
    assert_eq!(request.parent_span_id, Some(remote.parent.span_id));
    assert_eq!((request.local_root, request.trace_state.as_deref()), (true, Some("vendor=1")));
    assert_eq!(request.attributes.len(), 0);
}

#[test]
fn a_tracestate_reaches_every_span_below() {
    let telemetry = start(PipelineConfig::default()).telemetry();
    let remote = HEADER.parse().unwrap();
    let request = telemetry.continue_trace(remote, "request", attrs! { "tracestate" => "vendor=1" });
    {
        let _entered = request.enter();
        let step = telemetry.span("on the thread", attrs! {});
        assert_eq!(step.tracestate(), Some("vendor=1"));
        let _entered = step.enter();
        assert_eq!(telemetry.current().child("by a handle", attrs! {}).tracestate(), Some("vendor=1"));
        let other = telemetry.root_span("another trace", attrs! {});
        let _entered = other.enter();
        assert_eq!(telemetry.span("below it", attrs! {}).tracestate(), None);
    }
    assert_eq!(SpanContext::current(), None);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let spawned: SpanContext = runtime.block_on(
        async {
            yield_once().await;
            let task = async { SpanContext::current() }.in_current_span();
            runtime.spawn(task).await.unwrap().unwrap()
        }
        .in_span(request.context()),
    );
    assert_eq!(spawned.tracestate(), Some("vendor=1"));
    let context = request.context();
    let elsewhere = std::thread::spawn(move || telemetry.span_below(context, "elsewhere", attrs! {}));
    assert_eq!(elsewhere.join().unwrap().tracestate(), Some("vendor=1"));
}

#[test]
fn a_span_has_the_kind_that_was_set() {
    let running = start(PipelineConfig::default());
    let telemetry = running.telemetry();
    for &kind in SpanKind::ALL {
        drop(telemetry.span_builder(kind.as_str(), attrs! {}).with_kind(kind).start());
    }
    drop(telemetry.span("plain", attrs! {}));
    let (signals, _) = running.finish();
    for &kind in SpanKind::ALL {
        assert_eq!(span(&signals, kind.as_str()).kind, kind);
    }
    assert_eq!(span(&signals, "plain").kind, SpanKind::Internal);
}

#[test]
fn code_below_sets_attributes_of_the_current_span_and_fails_it() {
    let running = start(PipelineConfig::default());
    let telemetry = running.telemetry();
    let request = telemetry.span("request", attrs! { "model_id" => "unknown" });
    {
        let _entered = request.enter();
        telemetry.current().set_attribute("model_id", "llama");
        telemetry.current().set_attribute("gen_ai.input.messages", "content, which is dropped by default");
        telemetry.current().metric("prompt_tokens", 42, "tokens", attrs! {});
        let span = telemetry.current();
        std::thread::spawn(move || span.record_error(&"no room")).join().unwrap();
    }
    let handle = request.handle();
    drop(request);
    handle.set_attribute("late", true);
    telemetry.current().set_attribute("nowhere", true);
    let (signals, ledger) = running.finish();
    let request = span(&signals, "request");
    assert_eq!(request.attributes, attrs! { "model_id" => "llama", "error" => "no room" });
    assert_eq!((request.status, request.events.len()), (Some(SpanStatus::Error), 1));
    assert_eq!((ledger.assembler.late_update, ledger.assembler.redacted), (1, 1));
}

#[test]
fn a_handle_on_no_span_does_nothing() {
    let telemetry = Telemetry::disabled();
    let span = telemetry.current();
    span.set_attribute("a", 1);
    span.fail();
    assert_eq!(span.context(), None);
    assert_eq!(span.child("root", attrs! {}).tracestate(), None);
}

#[test]
fn an_invalid_tracestate_is_not_passed_on() {
    let attributes = attrs! { "tracestate" => "injected\r\nheader: x" };
    let running = start(PipelineConfig::default());
    let request = running.telemetry().continue_trace(HEADER.parse().unwrap(), "request", attributes);
    assert_eq!(request.tracestate(), None);
}

#[test]
fn the_flag_of_a_traceparent_is_set_if_the_trace_is_sampled() {
    let mut config = PipelineConfig::default();
    config.assembler.sampling = Sampling::ratio(0.0).unwrap();
    let running = start(config);
    assert!(running.telemetry().span("s", attrs! {}).traceparent().ends_with("-00"));
    assert!(start(PipelineConfig::default()).telemetry().span("s", attrs! {}).traceparent().ends_with("-01"));
}

#[test]
fn an_enormous_value_is_cut_and_its_span_kept() {
    let mut config = PipelineConfig { queue_bytes: 1 << 20, ..PipelineConfig::default() };
    config.assembler.max_value_bytes = 1 << 10;
    let running = start(config);
    {
        // More than the whole byte budget of the queue.
        let span = running.telemetry().span("s", attrs! { "prompt_text" => "x".repeat(4 << 20), "n" => 1 });
        span.log(Severity::Info, "y".repeat(4 << 20));
    }
    let (signals, ledger) = running.finish();
    let kept = span(&signals, "s");
    assert_eq!(kept.attributes, attrs! { "prompt_text" => "x".repeat(1 << 10), "n" => 1 });
    let cut = |signal: &Signal| match signal {
        Signal::Log(log) => matches!(&log.body, LogBody::Message { message, .. } if message.len() == 1 << 10),
        _ => false,
    };
    assert!(signals.iter().any(cut));
    assert_eq!((ledger.assembler.truncated_values, ledger.ingest.refused_full), (2, 0));
}

#[test]
fn the_start_of_a_forgotten_guard_is_delivered() {
    let running = start(PipelineConfig::default());
    std::mem::forget(running.telemetry().span("forgotten", attrs! {}));
    drop(running.telemetry().span("next", attrs! {}));
    let (signals, ledger) = running.finish();
    assert_eq!(ended(&signals).len(), 1);
    assert_eq!(
        (ledger.ingest.accepted, signals.len()),
        (3, 3),
        "the start is delivered, and nothing is missing"
    );
}

#[test]
fn ids_are_random_on_every_thread() {
    let threads: Vec<_> = (0..8)
        .map(|_| std::thread::spawn(|| (0..1_000).map(|_| random_trace_id()).collect::<Vec<_>>()))
        .collect();
    let mut ids: Vec<TraceId> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    ids.sort_by_key(|id| id.as_u128());
    ids.dedup();
    assert_eq!(ids.len(), 8_000);
    // About half of all bits are set, so the ids are random.
    let ones: u32 = ids.iter().map(|id| id.as_u128().count_ones()).sum();
    assert!((500_000..524_000).contains(&ones), "{ones}");
}
