//! The options of `pipeline:` about sampling and content take effect.

use std::time::Duration;

use telemetry_core::{Attributes, Event, Registry, Signal, SpanStatus, Submission, TraceId, Ttl, attrs};
use telemetry_pipeline::{Verdict, random_span_id, random_trace_id};
use telemetry_provider::{Config, Provider, Variables};
use telemetry_testkit::{CaptureSink, READY_MADE, ready_made};

/// Starts a provider with these pipeline settings and a sink that captures, and runs `code`. Returns the
/// delivered signals, and the ledger as JSON.
fn run(pipeline: &str, code: impl FnOnce(&Provider)) -> (Vec<Signal>, serde_json::Value) {
    run_with(pipeline, |config| config, code)
}

fn run_with(
    pipeline: &str,
    change: impl FnOnce(Config) -> Config,
    code: impl FnOnce(&Provider),
) -> (Vec<Signal>, serde_json::Value) {
    let (sink, seen) = CaptureSink::new();
    let index = ready_made(sink.built()).options.text("index").ok().flatten().expect("it has an index");
    let yaml = format!(
        "telemetry: [{{provider_id: a, provider_type: 'inline::meta-reference', \
         config: {{sinks: ready-made, ready-made: {{index: {index}}}, pipeline: {{{pipeline}}}}}}}]"
    );
    let registry = Registry::from_entries([&READY_MADE]).expect("one sink");
    let config = Config::from_yaml(&yaml, &registry, &Variables::default()).expect("a configuration");
    let provider = Provider::start(change(config)).expect("it starts");
    code(&provider);
    let report = provider.shutdown(Duration::from_secs(30));
    (seen.signals(), serde_json::to_value(report.ledger).expect("a ledger is JSON"))
}

fn ended(signals: &[Signal]) -> Vec<(String, Attributes)> {
    let ended = |signal: &Signal| match signal {
        Signal::SpanEnded(span) => Some((span.name.to_string(), span.attributes.clone())),
        _ => None,
    };
    signals.iter().filter_map(ended).collect()
}

#[test]
fn sample_ratio_keeps_a_share_of_the_spans_and_every_failed_span() {
    const SPANS: usize = 1_000;
    let (signals, ledger) = run("sample_ratio: 0.25", |provider| {
        for number in 0..SPANS {
            let mut span = provider.telemetry().root_span("request", attrs! {});
            if number % 100 == 0 {
                span.fail();
            }
        }
    });
    let failed = |signal: &&Signal| matches!(signal, Signal::SpanEnded(span) if span.status == Some(SpanStatus::Error));
    assert_eq!(signals.iter().filter(failed).count(), SPANS / 100);
    let kept = ended(&signals).len();
    assert!((150..400).contains(&kept), "{kept} of {SPANS}");
    assert_eq!(ledger["assembler"]["sampled_out_spans"], SPANS - kept);
}

#[test]
fn without_a_ratio_every_span_is_kept() {
    let (signals, ledger) = run("", |provider| drop(provider.telemetry().span("request", attrs! {})));
    assert_eq!(ended(&signals).len(), 1);
    assert_eq!(ledger["assembler"]["sampled_out_spans"], 0);
}

#[test]
fn content_is_dropped_masked_or_captured() {
    let attributes =
        || attrs! { "model_id" => "llama", "gen_ai.input.messages" => "tell me", "question" => "why?" };
    let cases = [
        ("", attrs! { "model_id" => "llama", "question" => "why?" }, 1),
        ("content_keys: [question]", attrs! { "model_id" => "llama" }, 2),
        (
            "content: mask",
            attrs! { "model_id" => "llama", "gen_ai.input.messages" => "[redacted]", "question" => "why?" },
            1,
        ),
        ("content: capture", attributes(), 0),
    ];
    for (pipeline, expected, redacted) in cases {
        let (signals, ledger) =
            run(pipeline, |provider| drop(provider.telemetry().span("chat", attributes())));
        assert_eq!(ended(&signals), [("chat".to_owned(), expected)], "{pipeline}");
        assert_eq!(ledger["assembler"]["redacted"], redacted, "{pipeline}");
    }
}

#[test]
fn the_hook_is_called_after_content_is_removed() {
    let hook = |key: &str, _: &telemetry_core::Value| {
        assert_ne!(key, "input", "content is removed before");
        if key == "user.email" { Verdict::Drop } else { Verdict::Keep }
    };
    let (signals, ledger) = run_with(
        "",
        |config| config.with_redaction_hook(hook),
        |provider| {
            let attributes = attrs! { "input" => "tell me", "user.email" => "ada@example.org", "n" => 1 };
            drop(provider.telemetry().span("chat", attributes));
        },
    );
    assert_eq!(ended(&signals), [("chat".to_owned(), attrs! { "n" => 1 })]);
    assert_eq!(ledger["assembler"]["redacted"], 2);
}

#[test]
fn submitted_events_are_not_redacted() {
    let (trace, span): (TraceId, _) = (random_trace_id(), random_span_id());
    let attributes = attrs! { "input" => "tell me", "__args__" => "{}" };
    let (signals, _) = run("", |provider| {
        let start = Event::span_start(trace, span, "sent").with_attributes(attributes.clone());
        let events = [start, Event::span_end(trace, span, SpanStatus::Ok)];
        let events = events.map(|event| Submission::Event { event, ttl: Ttl::default() });
        let receipt = provider.telemetry().submit(events.into()).expect("there is room");
        assert!(receipt.wait(Duration::from_secs(30)).is_ok());
    });
    assert_eq!(ended(&signals), [("sent".to_owned(), attributes)]);
}

#[test]
fn invalid_values_are_errors_with_their_line() {
    let registry = Registry::from_entries([&READY_MADE]).unwrap();
    for (pipeline, expected) in [
        ("sample_ratio: 1.5", "invalid ratio `1.5`: expected a number from 0 (only failed spans) to 1 (all)"),
        ("content: keep", "drop, mask"),
    ] {
        let yaml = format!(
            "telemetry: [{{provider_id: a, provider_type: 'inline::meta-reference', \
             config: {{sinks: ready-made, pipeline: {{{pipeline}}}}}}}]"
        );
        let error = Config::from_yaml(&yaml, &registry, &Variables::default()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("line 1"), "{error}");
    }
}
