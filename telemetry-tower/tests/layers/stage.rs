//! A pipeline with a sink that keeps what it gets, and what it got as text.

use std::time::Duration;

use telemetry_core::{MetricPoint, Signal};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec, Telemetry};
use telemetry_testkit::{CaptureSink, READY_MADE, Seen, ready_made};
use telemetry_tower::{RequestMetricsLayer, RequestSpanLayer, Routes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) struct Stage {
    pipeline: Pipeline,
    pub(crate) seen: Seen,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let (sink, seen) = CaptureSink::new();
        let spec = SinkSpec { entry: &READY_MADE, context: ready_made(sink.built()) };
        let pipeline = Pipeline::start(vec![spec], PipelineConfig::default()).unwrap();
        Self { pipeline, seen }
    }

    pub(crate) fn telemetry(&self) -> Telemetry {
        self.pipeline.telemetry()
    }

    pub(crate) fn metrics_layer(&self, routes: Routes) -> RequestMetricsLayer {
        RequestMetricsLayer::new(self.telemetry(), routes)
    }

    pub(crate) fn span_layer(&self, routes: Routes) -> RequestSpanLayer {
        RequestSpanLayer::new(self.telemetry(), routes)
    }

    /// Everything measured until now, once the pipeline has ended: a line per measurement.
    pub(crate) fn into_metrics(self) -> Vec<String> {
        self.into_signals().iter().filter_map(measured).collect()
    }

    /// Every signal, once the pipeline has ended.
    pub(crate) fn into_signals(self) -> Vec<Signal> {
        self.pipeline.shutdown(Duration::from_secs(30));
        self.seen.signals()
    }

    /// Waits until `count` requests have ended.
    pub(crate) fn wait_for_requests(&self, count: usize) {
        self.seen.wait_until(&format!("{count} requests"), |signals| {
            let ended = |line: &String| line.starts_with("requests{");
            signals.iter().filter_map(measured).filter(ended).count() >= count
                && signals
                    .iter()
                    .filter_map(measured)
                    .next_back()
                    .is_some_and(|last| last.starts_with("concurrent"))
        });
    }
}

/// `requests{api=inference,status=200} 1`; of a duration only that it is there.
fn measured(signal: &Signal) -> Option<String> {
    let Signal::Metric(point) = signal else { return None };
    let MetricPoint { name, value, unit, attributes, .. } = point.as_ref();
    let labels: Vec<String> = attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let labels = labels.join(",");
    Some(match name.as_ref() {
        "llama_stack_requests_total" => {
            assert_eq!(unit, "requests");
            format!("requests{{{labels}}} {}", value.as_f64())
        }
        "llama_stack_request_duration_seconds" => {
            assert_eq!(unit, "seconds");
            assert!(value.as_f64() >= 0.0);
            format!("duration{{{labels}}}")
        }
        "llama_stack_concurrent_requests" => {
            assert_eq!(unit, "requests");
            format!("concurrent{{{labels}}} {}", value.as_f64())
        }
        other => panic!("`{other}` is no request metric"),
    })
}

/// What one request leaves behind.
pub(crate) fn one_request(api: &str, status: u16) -> [String; 4] {
    [
        format!("concurrent{{api={api}}} 1"),
        format!("requests{{api={api},status={status}}} 1"),
        format!("duration{{api={api},status={status}}}"),
        format!("concurrent{{api={api}}} 0"),
    ]
}

/// Sends a request on a connection of its own and reads the whole answer.
pub(crate) async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut connection = send(address, request).await;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Sends a request and leaves the answer to the caller.
pub(crate) async fn send(address: std::net::SocketAddr, request: &str) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    connection
}
