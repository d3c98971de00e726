//! What `/metrics` shows.

use super::*;
use telemetry_core::{Event, MetricKind, Submission, Ttl, attrs};

/// The lines of the page about metrics that were logged.
fn shown(events: impl IntoIterator<Item = Event>) -> Vec<String> {
    let exposition = Exposition::new(Telemetry::disabled());
    let submission = |event| Submission::Event { event, ttl: Ttl::default() };
    let measurements = events.into_iter().map(submission);
    exposition.record(measurements.filter_map(|submission| Measurement::of(&submission)).collect());
    let page = exposition.render().unwrap();
    let is_ours =
        |line: &str| ["telemetry_door", "telemetry_sink", "http_"].iter().any(|ours| line.contains(ours));
    let samples = page.lines().filter(|line| !line.starts_with('#') && !is_ours(line));
    samples.map(str::to_owned).collect()
}

fn of_kind(event: Event, kind: MetricKind) -> Event {
    match event {
        Event::Metric(mut metric) => {
            metric.kind = Some(kind);
            Event::Metric(metric)
        }
        other => other,
    }
}

#[test]
fn a_known_metric_has_one_series_under_both_names() {
    let tokens = |name: &'static str, value: i64| {
        Event::metric(name, value, "tokens").with_attributes(attrs! { "model_id" => "llama" })
    };
    assert_eq!(
        shown([tokens("prompt_tokens", 40), tokens("llama_stack_prompt_tokens_total", 2)]),
        ["llama_stack_prompt_tokens_total{model_id=\"llama\"} 42"]
    );
}

#[test]
fn odd_names_and_labels_are_escaped() {
    let event = Event::metric("queue.depth", 1.5, "1").with_attributes(
        attrs! { "model.id" => "a\"b\\c\nd", "n" => 7, "nothing" => telemetry_core::Value::Null },
    );
    assert_eq!(shown([event]), [r#"queue_depth{model_id="a\"b\\c\nd",n="7"} 1.5"#]);
}

#[test]
fn each_instrument_is_what_its_kind_says() {
    let of = |kind, name: &'static str, value: f64| of_kind(Event::metric(name, value, "1"), kind);
    let lines = shown([
        of(MetricKind::UpDownCounter, "up_down", 5.0),
        of(MetricKind::UpDownCounter, "up_down", -2.0),
        of(MetricKind::Gauge, "last", 5.0),
        of(MetricKind::Gauge, "last", 2.0),
        of(MetricKind::Counter, "sum", 0.5),
        of(MetricKind::Histogram, "sizes", 5.0),
        of(MetricKind::Histogram, "sizes", 1e9),
    ]);
    for line in [
        "up_down{} 3.0",
        "last{} 2.0",
        "sum_total{} 0.5",
        "sizes_sum{} 1000000005.0",
        "sizes_count{} 2",
        "sizes_bucket{le=\"0.0\"} 0",
        "sizes_bucket{le=\"5.0\"} 1",
        "sizes_bucket{le=\"+Inf\"} 2",
    ] {
        assert!(lines.iter().any(|shown| shown == line), "no `{line}` in {lines:#?}");
    }
}

#[test]
fn what_no_instrument_can_express_is_counted() {
    let metric = |name: &'static str, value: i64, unit: &'static str| Event::metric(name, value, unit);
    let lines = shown([
        metric("a", -1, "1"),
        metric("b", 1, "s"),
        metric("b", 1, "ms"),
        of_kind(metric("b", 1, "s"), MetricKind::Gauge),
        metric("telemetry_sink_signals", 1, "1"),
        metric("b.total", 1, "s"),
        metric("llama.stack.tokens", 1, "tokens"),
        metric("c", 1, "1").with_attributes(attrs! { "x.y" => 1, "x_y" => 2 }),
    ]);
    let expected = [
        "b_total{} 1",
        "telemetry_metrics_refused_total{reason=\"kind\"} 1",
        "telemetry_metrics_refused_total{reason=\"labels\"} 1",
        "telemetry_metrics_refused_total{reason=\"name\"} 3",
        "telemetry_metrics_refused_total{reason=\"negative_increment\"} 1",
        "telemetry_metrics_refused_total{reason=\"unit\"} 1",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn series_are_bounded_and_the_rest_is_counted() {
    let event = |number: i64| Event::metric("m", 1, "1").with_attributes(attrs! { "user" => number });
    let lines = shown((0..10_100).map(event));
    assert_eq!(lines.len(), 10_000 + 1);
    assert!(lines.contains(&"telemetry_metrics_refused_total{reason=\"cardinality\"} 100".to_owned()));
}
