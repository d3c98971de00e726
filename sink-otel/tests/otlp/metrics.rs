//! Metrics arrive with the right instruments and the right numbers.

use std::sync::Arc;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint};
use sink_otel::METRIC;
use telemetry_core::{Attributes, MetricKind, MetricPoint, MetricValue, OptionValue, Signal, Written, attrs};
use telemetry_testkit::signals;

use crate::support::{Receiver, Reply, build, service, shown, text};

fn point(
    name: &'static str,
    value: impl Into<MetricValue>,
    unit: &'static str,
    labels: Attributes,
) -> Signal {
    of_kind(None, name, value, unit, labels)
}

fn of_kind(
    kind: Option<MetricKind>,
    name: &'static str,
    value: impl Into<MetricValue>,
    unit: &'static str,
    labels: Attributes,
) -> Signal {
    let point = signals::metric_point(name, value, 0, labels);
    Signal::Metric(Arc::new(MetricPoint { unit: unit.into(), kind, ..point }))
}

fn of_service(number: u32) -> Signal {
    let service_name = Some(number.to_string().into());
    let point = MetricPoint { service_name, ..signals::metric_point("hits", 1, 0, attrs! {}) };
    Signal::Metric(Arc::new(point))
}

fn number(point: &NumberDataPoint) -> f64 {
    match point.value {
        Some(Value::AsDouble(number)) => number,
        other => panic!("not a double: {other:?}"),
    }
}

/// Returns a metric as `name unit kind`, and its data points as sorted lines `labels = value`.
fn summary(metric: &Metric) -> (String, Vec<String>) {
    let (kind, points) = match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => {
            let kind = match (sum.is_monotonic, sum.aggregation_temporality) {
                (true, 2) => "cumulative counter",
                (true, 1) => "delta counter",
                (false, 2) => "cumulative up-down counter",
                _ => "?",
            };
            (kind, sum.data_points.clone())
        }
        Data::Gauge(gauge) => ("gauge", gauge.data_points.clone()),
        other => panic!("unexpected {other:?}"),
    };
    let mut lines: Vec<_> = points
        .iter()
        .map(|point| {
            let mut labels = shown(&point.attributes);
            labels.sort();
            format!("{} = {}", labels.join(","), number(point))
        })
        .collect();
    lines.sort();
    (format!("{} {} {kind}", metric.name, metric.unit), lines)
}

fn summaries(receiver: &Receiver) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<_> = receiver.latest_metrics().iter().map(summary).collect();
    all.sort();
    all
}

#[tokio::test]
async fn the_known_metrics_are_counters_and_gauges_under_their_exported_names() {
    let receiver = Receiver::start();
    let mut sink = build(&METRIC, &receiver.url(), &[]).await;
    let model = |name: &'static str| attrs! { "model_id" => name };
    let written = sink
        .write(vec![
            point("prompt_tokens", 10, "tokens", model("a")),
            point("llama_stack_prompt_tokens_total", 5, "tokens", model("a")),
            point("total_tokens", 7, "tokens", model("b")),
            point("llama_stack_request_duration_seconds", 0.5, "seconds", attrs! { "api" => "inference" }),
            point("llama_stack_request_duration_seconds", 0.25, "seconds", attrs! { "api" => "inference" }),
            point("llama_stack_concurrent_requests", 3, "requests", attrs! { "api" => "inference" }),
        ])
        .await
        .unwrap();
    assert_eq!(written, Written::ALL);
    sink.flush().await.unwrap();
    let one = |labels: &str| vec![labels.to_owned()];
    assert_eq!(
        summaries(&receiver),
        [
            ("llama_stack_concurrent_requests requests gauge".to_owned(), one("api=text:inference = 3")),
            (
                "llama_stack_prompt_tokens_total tokens cumulative counter".to_owned(),
                one("model_id=text:a = 15")
            ),
            (
                "llama_stack_request_duration_seconds seconds gauge".to_owned(),
                one("api=text:inference = 0.25")
            ),
            ("llama_stack_tokens_total tokens cumulative counter".to_owned(), one("model_id=text:b = 7")),
        ]
    );
    assert_eq!(
        service(receiver.metrics()[0].resource_metrics[0].resource.as_ref()),
        "service.name=text:test"
    );
}

#[tokio::test]
async fn cumulative_counters_keep_their_sum() {
    let receiver = Receiver::start();
    let mut sink = build(&METRIC, &receiver.url(), &[]).await;
    for _ in 0..2 {
        sink.write(vec![point("total_tokens", 7, "tokens", attrs! {})]).await.unwrap();
        sink.flush().await.unwrap();
    }
    assert_eq!(summaries(&receiver)[0].1, [" = 14"]);
}

#[tokio::test]
async fn delta_counters_start_again_and_survive_an_outage() {
    let receiver = Receiver::start();
    let mut sink = build(&METRIC, &receiver.url(), &[("temporality", text("delta"))]).await;
    sink.write(vec![point("total_tokens", 7, "tokens", attrs! {})]).await.unwrap();
    receiver.reply([Reply::status(503)]);
    sink.flush().await.unwrap_err();
    sink.write(vec![point("total_tokens", 5, "tokens", attrs! {})]).await.unwrap();
    sink.flush().await.unwrap();
    let sums: Vec<_> = receiver
        .metrics()
        .iter()
        .map(|request| summary(&request.resource_metrics[0].scope_metrics[0].metrics[0]))
        .collect();
    let delta =
        |line: &str| ("llama_stack_tokens_total tokens delta counter".to_owned(), vec![line.to_owned()]);
    // The first was answered with 503 and sent again.
    assert_eq!(sums, [delta(" = 7"), delta(" = 7"), delta(" = 5")]);
}

#[tokio::test]
async fn other_metrics_follow_the_rules_for_instruments() {
    let receiver = Receiver::start();
    let mut sink = build(&METRIC, &receiver.url(), &[]).await;
    let written = sink
        .write(vec![
            point("cache.hits", 1, "1", attrs! {}),
            point("temperature", 21.5, "Cel", attrs! {}),
            of_kind(Some(MetricKind::UpDownCounter), "queue", 5, "1", attrs! {}),
            of_kind(Some(MetricKind::UpDownCounter), "queue", -2, "1", attrs! {}),
        ])
        .await
        .unwrap();
    assert_eq!(written, Written::ALL);
    sink.flush().await.unwrap();
    let names: Vec<_> = summaries(&receiver).into_iter().map(|(name, lines)| name + &lines[0]).collect();
    assert_eq!(
        names,
        [
            "cache.hits 1 cumulative counter = 1",
            "queue 1 cumulative up-down counter = 3",
            "temperature Cel gauge = 21.5"
        ]
    );
}

#[tokio::test]
async fn points_that_an_instrument_cannot_express_are_rejected_and_counted() {
    let receiver = Receiver::start();
    let mut sink = build(&METRIC, &receiver.url(), &[]).await;
    let cases = [
        (point("total_tokens", -1, "tokens", attrs! {}), "the increment of a counter must not be negative"),
        (point("total_tokens", 1, "bytes", attrs! {}), "the metric has another unit"),
        (point("9lives", 1, "1", attrs! {}), "invalid name for OpenTelemetry"),
        (point("size", 1, "größe", attrs! {}), "invalid unit for OpenTelemetry"),
    ];
    for (signal, expected) in cases {
        let written = sink.write(vec![signal]).await.unwrap();
        assert_eq!(written.rejected, 1);
        let reason = written.reason.unwrap();
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn histograms_have_the_buckets_of_the_conventions() {
    let receiver = Receiver::start();
    let mut sink = build(&METRIC, &receiver.url(), &[("histograms", OptionValue::Flag(true))]).await;
    let labels = attrs! { "api" => "inference", "status" => "200" };
    sink.write(vec![
        point("llama_stack_request_duration_seconds", 0.3, "seconds", labels),
        point("prompt_tokens", 100, "tokens", attrs! { "model_id" => "m" }),
    ])
    .await
    .unwrap();
    sink.flush().await.unwrap();
    let mut found: Vec<_> = receiver
        .latest_metrics()
        .into_iter()
        .filter_map(|metric| match metric.data {
            Some(Data::Histogram(histogram)) => {
                let point = &histogram.data_points[0];
                let bucket = point.bucket_counts.iter().position(|&count| count == 1).unwrap();
                Some((metric.name, metric.unit, point.explicit_bounds.len(), point.explicit_bounds[bucket]))
            }
            _ => None,
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let row = |name: &str, unit: &str, bound: f64| (name.to_owned(), unit.to_owned(), 14, bound);
    assert_eq!(
        found,
        [
            row("gen_ai.client.operation.duration", "s", 0.32),
            row("gen_ai.client.token.usage", "{token}", 256.0),
            row("http.server.request.duration", "s", 0.5),
        ]
    );
}

#[tokio::test]
async fn label_sets_beyond_the_limit_go_to_the_overflow_series_and_are_counted() {
    let receiver = Receiver::start();
    let mut sink = build(&METRIC, &receiver.url(), &[("cardinality_limit", OptionValue::Integer(2))]).await;
    let points = ["a", "b", "c", "d", "a"].map(|user| point("hits", 1, "1", attrs! { "user" => user }));
    assert_eq!(sink.write(points.into()).await.unwrap(), Written::ALL);
    sink.flush().await.unwrap();
    let summaries = summaries(&receiver);
    assert_eq!(summaries[0].1, ["otel.metric.overflow=bool:true = 2", "user=text:a = 2", "user=text:b = 1"]);
    assert_eq!(summaries[1].0, "telemetry_metric_overflow_total  cumulative counter");
    assert_eq!(summaries[1].1, ["metric=text:hits = 2"]);
}

#[tokio::test]
async fn metrics_of_other_services_keep_their_service() {
    let receiver = Receiver::start();
    let mut sink = build(&METRIC, &receiver.url(), &[]).await;
    let foreign =
        MetricPoint { service_name: Some("other".into()), ..signals::metric_point("hits", 1, 0, attrs! {}) };
    sink.write(vec![Signal::Metric(Arc::new(foreign)), point("hits", 5, "1", attrs! {})]).await.unwrap();
    sink.flush().await.unwrap();
    let mut sums: Vec<_> = receiver
        .metrics()
        .iter()
        .map(|request| {
            let resource = &request.resource_metrics[0];
            (service(resource.resource.as_ref()), summary(&resource.scope_metrics[0].metrics[0]).1.remove(0))
        })
        .collect();
    sums.sort();
    let row = |name: &str, sum: &str| (format!("service.name=text:{name}"), sum.to_owned());
    assert_eq!(sums, [row("other", " = 1"), row("test", " = 5")]);
}

#[tokio::test]
async fn a_failed_export_sends_one_request_whatever_the_number_of_services() {
    let receiver = Receiver::start();
    let mut sink = build(&METRIC, &receiver.url(), &[]).await;
    sink.write((0..10).map(of_service).collect()).await.unwrap();
    receiver.reply([Reply::status(503)]);
    sink.flush().await.unwrap_err();
    assert_eq!(receiver.requests().len(), 1);
    sink.flush().await.unwrap();
    assert_eq!(receiver.requests().len(), 11);
}

#[tokio::test]
async fn points_of_more_than_a_hundred_services_are_rejected_and_counted() {
    let receiver = Receiver::start();
    let mut sink = build(&METRIC, &receiver.url(), &[]).await;
    let written = sink.write((0..103).map(of_service).collect()).await.unwrap();
    assert_eq!(written.rejected, 3);
    assert!(written.reason.unwrap().contains("metrics of 100 services"));
}

#[tokio::test]
async fn metrics_are_exported_at_every_interval() {
    let receiver = Receiver::start();
    let mut sink = build(&METRIC, &receiver.url(), &[("interval", text("20ms"))]).await;
    sink.write(vec![point("hits", 1, "1", attrs! {})]).await.unwrap();
    receiver.wait_for(2).await;
}

#[tokio::test]
async fn shutdown_exports_the_latest_metrics() {
    let receiver = Receiver::start();
    let mut sink = build(&METRIC, &receiver.url(), &[]).await;
    sink.write(vec![point("hits", 1, "1", attrs! {})]).await.unwrap();
    assert!(receiver.requests().is_empty());
    sink.shutdown().await.unwrap();
    assert_eq!(receiver.latest_metrics().len(), 1);
}

#[tokio::test]
async fn data_points_that_the_collector_rejects_are_reported_with_the_next_batch() {
    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
    };
    let receiver = Receiver::start();
    let mut sink = build(&METRIC, &receiver.url(), &[]).await;
    sink.write(vec![point("hits", 1, "1", attrs! {})]).await.unwrap();
    let partial = ExportMetricsPartialSuccess { rejected_data_points: 1, error_message: "too old".into() };
    receiver.reply([Reply::protobuf(&ExportMetricsServiceResponse { partial_success: Some(partial) })]);
    sink.flush().await.unwrap();
    let written = sink.write(vec![point("hits", 1, "1", attrs! {})]).await.unwrap();
    assert_eq!(written, Written::partly(1, "partly rejected by the collector: too old"));
}
