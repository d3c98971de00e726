//! OTLP export from a host program, with slow and silent collectors and with different runtimes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use telemetry_core::{Event, OptionValue, Options, RunId, Severity, SinkContext, SinkEntry, attrs};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkLedger, SinkSpec, Telemetry};
use telemetry_tests::{Behaviour, Client, Collector, DEADLINE, Settings};

/// Starts a pipeline with the three sinks, which send to `url`.
fn start(url: &str) -> Pipeline {
    let spec = |entry: &'static SinkEntry| {
        let endpoint = ("endpoint", OptionValue::Text(url.to_owned()));
        let options = if entry.name == "otel_metric" {
            Options::from_pairs([endpoint])
        } else {
            // Small batches, and so many requests.
            let size = ("batch_size", OptionValue::Integer(20));
            let age = ("batch_age", OptionValue::Text("1ms".to_owned()));
            Options::from_pairs([endpoint, size, age])
        };
        SinkSpec { entry, context: SinkContext { service_name: "host".into(), options, run: RunId(1) } }
    };
    let specs = vec![spec(&sink_otel::TRACE), spec(&sink_otel::METRIC), spec(&sink_otel::LOG)];
    Pipeline::start(specs, PipelineConfig::default()).unwrap()
}

/// Logs spans, each with a log and a metric point.
fn work(telemetry: &Telemetry, spans: u32) {
    for number in 0..spans {
        let span = telemetry.span("work", attrs! { "number" => number });
        span.log(Severity::Info, "at work");
        telemetry.log_event(Event::metric("prompt_tokens", 1, "tokens"));
    }
}

fn all_delivered(sinks: &[SinkLedger], signals: u64) {
    for sink in sinks {
        assert_eq!((sink.accepted, sink.delivered, sink.pending), (signals, signals, 0), "{sink:?}");
    }
}

#[test]
fn a_slow_collector_gets_everything_once() {
    let collector = Collector::start(Behaviour::Slow(Duration::from_millis(200))).unwrap();
    let pipeline = start(collector.url());
    work(&pipeline.telemetry(), 100);
    let report = pipeline.shutdown(DEADLINE);
    all_delivered(&report.ledger.sinks, 100);
    assert!(report.ledger.sinks.iter().all(|sink| sink.retries == 0), "a slow request is not a failed one");
}

#[test]
fn a_host_without_a_runtime_and_one_with_a_single_thread_both_deliver() {
    let collector = Collector::start(Behaviour::Slow(Duration::ZERO)).unwrap();
    let pipeline = start(collector.url());
    work(&pipeline.telemetry(), 100);
    all_delivered(&pipeline.shutdown(DEADLINE).ledger.sinks, 100);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(async {
        // Start and shutdown block the only thread. The pipeline does not need it.
        let pipeline = start(collector.url());
        work(&pipeline.telemetry(), 100);
        assert!(pipeline.telemetry().flush(DEADLINE).await.is_complete());
        pipeline.shutdown(DEADLINE)
    });
    all_delivered(&report.ledger.sinks, 100);
}

#[test]
fn a_flush_that_hangs_at_shutdown_counts_no_metric_point_as_delivered() {
    let collector = Collector::start(Behaviour::Silent).unwrap();
    let pipeline = start(collector.url());
    let telemetry = pipeline.telemetry();
    work(&telemetry, 10);
    let flushing = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(telemetry.flush(DEADLINE))
    });
    // Requests with spans, metric points and logs have arrived.
    collector.wait_for_requests(3).unwrap();
    let started = Instant::now();
    let report = pipeline.shutdown(Duration::from_secs(10));
    assert!(started.elapsed() < Duration::from_secs(11), "{:?}", started.elapsed());
    for sink in &report.ledger.sinks {
        let counts = (sink.delivered, sink.failed + sink.dropped, sink.pending);
        assert_eq!(counts, (0, 10, 0), "{sink:?}");
    }
    assert!(!flushing.join().unwrap().is_complete());
}

#[test]
fn our_receiver_stores_what_our_sinks_send() {
    let folder = tempfile::tempdir().unwrap();
    let server = Settings::sqlite_in(folder.path()).start().unwrap();
    let pipeline = start(server.url());
    work(&pipeline.telemetry(), 50);
    all_delivered(&pipeline.shutdown(DEADLINE).ledger.sinks, 50);
    let mut client = Client::connect(server.url()).unwrap();
    let filter = serde_json::json!({
        "attribute_filters": [{ "key": "service_name", "op": "eq", "value": "host" }], "attributes_to_return": ["number"],
    });
    let spans = client.post("/v1/telemetry/spans", &filter).unwrap().json();
    let numbers =
        spans["data"].as_array().unwrap().iter().map(|span| span["attributes"]["number"].as_i64().unwrap());
    let mut numbers: Vec<i64> = numbers.collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    let window = serde_json::json!({ "start_time": 0, "aggregation": "sum", "granularity": "1w" });
    let tokens = client.post("/v1/telemetry/metrics/prompt_tokens", &window).unwrap().json();
    assert_eq!(tokens["data"][0]["values"][0]["value"], 50.0, "{tokens}");
    let logs =
        client.post("/v1/telemetry/logs", &serde_json::json!({ "contains": "at work" })).unwrap().json();
    // Each log is found as a log and as an event of its span.
    assert!(logs["data"].as_array().unwrap().len() >= 50, "{logs}");
}
