//! The metrics that an inference logs, however it ends.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use telemetry_core::{Signal, attrs};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec, Telemetry};
use telemetry_testkit::{CaptureSink, READY_MADE, block_on, ready_made};
use telemetry_tokens::{GenAiConventions, TokenMetrics};

/// Returns the metric points that `use_telemetry` logs, one line each.
fn logged(use_telemetry: impl FnOnce(Telemetry)) -> Vec<String> {
    let (sink, seen) = CaptureSink::new();
    let spec = SinkSpec { entry: &READY_MADE, context: ready_made(sink.built()) };
    let pipeline = Pipeline::start(vec![spec], PipelineConfig::default()).unwrap();
    use_telemetry(pipeline.telemetry());
    pipeline.shutdown(Duration::from_secs(30));
    let line = |signal: &Signal| match signal {
        Signal::Metric(point) => {
            let labels: Vec<_> =
                point.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
            Some(format!("{} {} {} {}", point.name, point.value.as_f64(), point.unit, labels.join(",")))
        }
        _ => None,
    };
    seen.signals().iter().filter_map(line).collect()
}

const LABELS: &str = "model_id=llama,provider_id=vllm";

#[test]
fn a_call_logs_and_returns_its_tokens() {
    let lines = logged(|telemetry| {
        let mut inference = TokenMetrics::new(telemetry).inference("llama", "vllm");
        inference.set_prompt_tokens(12);
        inference.set_completion_tokens(30);
        assert_eq!(
            serde_json::to_value(inference.finish()).unwrap(),
            serde_json::json!([
                {"metric": "prompt_tokens", "value": 12, "unit": "tokens"},
                {"metric": "completion_tokens", "value": 30, "unit": "tokens"},
                {"metric": "total_tokens", "value": 42, "unit": "tokens"},
            ])
        );
    });
    let expected = ["prompt_tokens 12", "completion_tokens 30", "total_tokens 42"];
    assert_eq!(lines, expected.map(|line| format!("{line} tokens {LABELS}")));
}

#[test]
fn missing_usage_is_counted() {
    let lines = logged(|telemetry| {
        let tokens = TokenMetrics::new(telemetry);
        assert!(tokens.inference("llama", "vllm").finish().is_empty());
        let mut half = tokens.inference("llama", "vllm");
        half.set_prompt_tokens(12);
        assert_eq!(half.finish().len(), 1);
        assert_eq!(tokens.without_usage(), 2);
    });
    let missing = format!("inference_without_usage_total 1 requests {LABELS}");
    assert_eq!(lines, [missing.clone(), format!("prompt_tokens 12 tokens {LABELS}"), missing]);
}

#[test]
fn a_stream_is_counted_until_it_ends_or_the_client_disconnects() {
    let completion = |take: usize| {
        let lines = logged(|telemetry| {
            let mut inference = TokenMetrics::new(telemetry).inference("llama", "vllm");
            inference.set_prompt_tokens(1);
            let counted =
                inference.count(stream::repeat("token").take(5), |_, call| call.add_completion_tokens(1));
            let read: Vec<_> = block_on(counted.take(take).collect());
            assert_eq!(read.len(), take.min(5));
        });
        lines[1].clone()
    };
    assert_eq!(completion(9), format!("completion_tokens 5 tokens {LABELS}"));
    assert_eq!(completion(3), format!("completion_tokens 3 tokens {LABELS}"));
}

#[test]
fn the_last_item_can_have_the_metrics() {
    let tokens = TokenMetrics::new(Telemetry::disabled());
    let counted =
        tokens.inference("llama", "vllm").count(stream::iter([None, Some(7)]), |usage, inference| {
            if let Some(completion) = usage {
                inference.set_prompt_tokens(1);
                inference.set_completion_tokens(*completion);
                *usage = Some(inference.metrics().len() as u64);
            }
        });
    assert_eq!(block_on(counted.collect::<Vec<_>>()), [None, Some(3)]);
}

#[test]
fn the_metrics_belong_to_the_current_span() {
    let (sink, seen) = CaptureSink::new();
    let spec = SinkSpec { entry: &READY_MADE, context: ready_made(sink.built()) };
    let pipeline = Pipeline::start(vec![spec], PipelineConfig::default()).unwrap();
    let span = pipeline.telemetry().span("inference", attrs! {});
    let mut inference = {
        let _entered = span.enter();
        TokenMetrics::new(pipeline.telemetry()).inference("llama", "vllm")
    };
    inference.set_prompt_tokens(1);
    drop(inference);
    drop(span);
    pipeline.shutdown(Duration::from_secs(30));
    assert_eq!(seen.ended_spans()[0].events.len(), 2);
}

#[test]
fn histograms_have_the_names_of_the_conventions() {
    let lines = logged(|telemetry| {
        let tokens = TokenMetrics::new(telemetry).with_histograms(GenAiConventions::V1_37);
        let mut inference = tokens.inference("llama", "vllm");
        inference.set_prompt_tokens(1);
        inference.set_completion_tokens(5);
        inference.set_duration(Duration::from_secs(3));
        inference.set_time_to_first_token(Duration::from_secs(1));
        inference.fail("timeout");
    });
    let labels =
        "gen_ai.operation.name=chat,gen_ai.provider.name=vllm,gen_ai.request.model=llama,error.type=timeout";
    let expected = ["request.duration 3", "time_to_first_token 1", "time_per_output_token 0.5"];
    assert_eq!(lines[3..], expected.map(|line| format!("gen_ai.server.{line} s {labels}")));
}

#[test]
fn huge_numbers_saturate() {
    let lines = logged(|telemetry| {
        let tokens = TokenMetrics::new(telemetry).with_histograms(GenAiConventions::V1_36);
        let mut inference = tokens.inference("llama", "vllm");
        inference.set_prompt_tokens(u64::MAX);
        inference.add_completion_tokens(u64::MAX);
        inference.add_completion_tokens(1);
        inference.set_time_to_first_token(Duration::MAX);
        inference.set_duration(Duration::ZERO);
    });
    assert_eq!(lines.len(), 5, "{lines:?}");
}
