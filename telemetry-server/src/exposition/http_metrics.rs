//! Metrics of the HTTP server itself, under OpenTelemetry's names.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The buckets of OpenTelemetry's `http.server.request.duration`, in seconds.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The methods of HTTP. A client may send any other word.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(clippy::struct_field_names, reason = "they are the labels, under OpenTelemetry's names")]
struct Labels {
    http_request_method: &'static str,
    http_route: String,
    http_response_status_code: u16,
}

/// Durations of requests, and how many are active.
#[derive(Clone, Debug)]
pub(crate) struct HttpMetrics {
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    active: Gauge,
}

impl HttpMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let durations = Family::new_with_constructor((|| Histogram::new(BOUNDS)) as fn() -> Histogram);
        let active = Gauge::default();
        registry.register(
            "http_server_request_duration_seconds",
            "Duration of HTTP requests, to the end of the answer",
            durations.clone(),
        );
        registry.register("http_server_active_requests", "HTTP requests that have not ended", active.clone());
        Self { durations, active }
    }

    /// Counts a request that starts.
    pub(crate) fn begin(&self) {
        self.active.inc();
    }

    /// Records a request that has ended. `route` is the matched route, or empty.
    pub(crate) fn end(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        self.active.dec();
        let known = METHODS.iter().find(|known| **known == method.as_str());
        let labels = Labels {
            http_request_method: known.unwrap_or(&"_OTHER"),
            http_route: route.to_owned(),
            http_response_status_code: status.as_u16(),
        };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }
}
