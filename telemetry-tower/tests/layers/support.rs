//! A pipeline that captures what it delivers, and functions that show it as text.

use std::sync::Arc;
use std::time::Duration;

use telemetry_core::{MetricPoint, Signal};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec, Telemetry};
use telemetry_testkit::{CaptureSink, READY_MADE, Seen, ready_made};
use telemetry_tower::{RequestMetricsLayer, RequestSpanLayer, Routes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) struct CapturingPipeline {
    pipeline: Pipeline,
    pub(crate) seen: Seen,
}

impl CapturingPipeline {
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

    /// Shuts the pipeline down and returns its metric points in order of time, one line each.
    pub(crate) fn into_metrics(self) -> Vec<String> {
        let mut points: Vec<_> = self.into_signals().iter().filter_map(point).collect();
        // Events of different threads may arrive out of order.
        points.sort_by_key(|point| point.timestamp);
        points.iter().map(|point| metric_line(point)).collect()
    }

    /// Shuts the pipeline down and returns every signal.
    pub(crate) fn into_signals(self) -> Vec<Signal> {
        self.pipeline.shutdown(Duration::from_secs(30));
        self.seen.signals()
    }

    /// Waits until all metric points of `count` requests have arrived.
    pub(crate) fn wait_for_requests(&self, count: usize) {
        let expected = count * one_request("", 0).len();
        self.seen.wait_until(&format!("{count} requests"), |signals| {
            signals.iter().filter_map(point).count() >= expected
        });
    }
}

fn point(signal: &Signal) -> Option<Arc<MetricPoint>> {
    match signal {
        Signal::Metric(point) => Some(Arc::clone(point)),
        _ => None,
    }
}

/// Formats a metric point as `requests{api=inference,status=200} 1`. A duration is shown without its value.
fn metric_line(point: &MetricPoint) -> String {
    let MetricPoint { name, value, unit, attributes, .. } = point;
    let labels: Vec<String> = attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let labels = labels.join(",");
    match name.as_ref() {
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
        other => panic!("`{other}` is not a request metric"),
    }
}

/// Returns the lines of one request.
pub(crate) fn one_request(api: &str, status: u16) -> [String; 4] {
    [
        format!("concurrent{{api={api}}} 1"),
        format!("requests{{api={api},status={status}}} 1"),
        format!("duration{{api={api},status={status}}}"),
        format!("concurrent{{api={api}}} 0"),
    ]
}

/// Sends a request on a new connection and reads the whole answer.
pub(crate) async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut connection = send(address, request).await;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Sends a request on a new connection, whose answer the caller reads.
pub(crate) async fn send(address: std::net::SocketAddr, request: &str) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    connection
}
