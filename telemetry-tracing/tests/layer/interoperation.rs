//! The layer together with other processes, span guards, other layers, and code that behaves badly.

use telemetry_core::{Severity, Value, attrs};
use telemetry_pipeline::current_span;
use telemetry_tracing::SpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::{CapturingPipeline, traced};

#[test]
fn a_remote_trace_is_continued_and_passed_on() {
    const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut outgoing = None;
    let delivered = traced(|| {
        let span = tracing::info_span!("request", traceparent = HEADER, tracestate = "vendor=1");
        let _entered = span.enter();
        let call = tracing::info_span!("call");
        outgoing = call.traceparent();
        assert_eq!(call.tracestate().as_deref(), Some("vendor=1"));
    });
    let (request, call) = (delivered.span("request"), delivered.span("call"));
    assert_eq!(request.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(request.parent_span_id.unwrap().to_string(), "b7ad6b7169203331");
    assert_eq!((request.trace_state.as_deref(), request.local_root), (Some("vendor=1"), true));
    assert_eq!(request.attributes.len(), 0);
    assert_eq!((call.trace_id, call.parent_span_id), (request.trace_id, Some(request.span_id)));
    assert_eq!(outgoing.unwrap(), format!("00-{}-{}-01", call.trace_id, call.span_id));
}

#[test]
fn an_invalid_traceparent_starts_a_new_trace() {
    let pipeline = CapturingPipeline::start();
    let telemetry = pipeline.telemetry();
    let subscriber = tracing_subscriber::registry().with(telemetry_tracing::layer(telemetry.clone()));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info_span!("s", traceparent = "nonsense").in_scope(|| ());
    });
    let delivered = pipeline.finish();
    assert_eq!(delivered.span("s").parent_span_id, None);
    assert_eq!(delivered.span("s").attributes, attrs! { "traceparent" => "nonsense" });
    assert_eq!(telemetry.ledger().assembler.invalid_traceparent, 1);
}

#[test]
fn tracing_and_span_guards_share_the_current_span() {
    let pipeline = CapturingPipeline::start();
    let telemetry = pipeline.telemetry();
    let subscriber = tracing_subscriber::registry().with(telemetry_tracing::layer(telemetry.clone()));
    tracing::subscriber::with_default(subscriber, || {
        let outer = tracing::info_span!("outer");
        let _outer = outer.enter();
        assert_eq!(current_span(), outer.key());
        let guard = telemetry.span("guard", attrs! {});
        {
            let _entered = guard.enter();
            tracing::info!("in the guard");
            let _inner = tracing::info_span!("inner").entered();
        }
        assert_eq!(current_span(), outer.key());
        guard.log(Severity::Info, "still open");
    });
    let expected = "outer {}\n  guard {}\n    - info: in the guard\n    - info: still open\n    inner {}\n";
    assert_eq!(pipeline.finish().tree(), expected);
    assert_eq!(current_span(), None);
}

#[test]
fn a_tracestate_passes_between_tracing_and_span_guards() {
    const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let pipeline = CapturingPipeline::start();
    let telemetry = pipeline.telemetry();
    let subscriber = tracing_subscriber::registry().with(telemetry_tracing::layer(telemetry.clone()));
    tracing::subscriber::with_default(subscriber, || {
        let request = tracing::info_span!("request", traceparent = HEADER, tracestate = "vendor=1").entered();
        let guard = telemetry.span("guard", attrs! {});
        assert_eq!(guard.tracestate(), Some("vendor=1"));
        let _entered = guard.enter();
        let call = tracing::info_span!("call");
        assert_eq!(call.tracestate().as_deref(), Some("vendor=1"));
        assert_eq!(tracing::info_span!(parent: &call, "below").tracestate().as_deref(), Some("vendor=1"));
        telemetry.current().set_attribute("set", "by a handle");
        drop(request);
    });
    assert_eq!(pipeline.finish().span("guard").attributes, attrs! { "set" => "by a handle" });
}

#[test]
fn spans_can_be_left_in_another_order_than_entered() {
    let delivered = traced(|| {
        let (a, b) = (tracing::info_span!("a"), tracing::info_span!(parent: None, "b"));
        let (in_a, in_b) = (a.enter(), b.enter());
        drop(in_a);
        assert_eq!(current_span(), b.key());
        tracing::info!("in b");
        drop(in_b);
        assert_eq!(current_span(), None);
    });
    assert_eq!(delivered.tree(), "a {}\nb {}\n  - info: in b\n");
}

#[test]
fn the_location_in_the_source_is_added_on_request() {
    let pipeline = CapturingPipeline::start();
    let layer = telemetry_tracing::layer(pipeline.telemetry()).with_location(true);
    let line = line!() + 1;
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || tracing::info!("here"));
    let attributes = pipeline.finish().logs()[0].attributes.clone();
    assert_eq!(attributes.get("code.line.number"), Some(&Value::from(line)));
    assert!(attributes.get("code.file.path").unwrap().as_str().unwrap().ends_with("interoperation.rs"));
}

#[test]
fn a_second_layer_of_one_subscriber_stays_silent() {
    let pipeline = CapturingPipeline::start();
    let layer = || telemetry_tracing::layer(pipeline.telemetry());
    let subscriber = tracing_subscriber::registry().with(layer()).with(layer());
    tracing::subscriber::with_default(subscriber, || {
        tracing::info_span!("once").in_scope(|| tracing::info!("once"));
    });
    assert_eq!(pipeline.finish().tree(), "once {}\n  - info: once\n");
}

#[test]
fn logging_after_a_shutdown_is_counted() {
    let pipeline = CapturingPipeline::start();
    let telemetry = pipeline.telemetry();
    let subscriber = tracing_subscriber::registry().with(telemetry_tracing::layer(telemetry.clone()));
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!("outlives the pipeline");
        assert_eq!(pipeline.finish().0.len(), 1);
        span.in_scope(|| tracing::info!("late"));
        drop(span);
        assert_eq!(telemetry.ledger().ingest.refused_closed, 2);
    });
}
