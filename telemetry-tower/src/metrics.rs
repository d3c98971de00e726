//! Request metrics: how many, how long, how many at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use http::Request;
use telemetry_core::{Event, SignalSet, Text, attrs};
use telemetry_pipeline::Telemetry;
use tower_layer::Layer;

use crate::in_flight::{InFlight, Watch};
use crate::routes::{Found, UNKNOWN};
use crate::service::Watcher;
use crate::{RequestHead, Routes, Watched};

const REQUESTS: &str = "llama_stack_requests_total";
const DURATION: &str = "llama_stack_request_duration_seconds";
const CONCURRENT: &str = "llama_stack_concurrent_requests";

/// Distinct values of the label `api`; further ones are `unknown`.
const MAX_APIS: usize = 64;

/// Measures every request of a service: three of Llama Stack's six metrics.
///
/// | Metric | Unit | Labels | When |
/// |---|---|---|---|
/// | `llama_stack_requests_total` | `requests` | `api`, `status` | 1 at the end |
/// | `llama_stack_request_duration_seconds` | `seconds` | `api`, `status` | at the end |
/// | `llama_stack_concurrent_requests` | `requests` | `api` | at the start and at the end |
///
/// A request ends with the last byte of its answer, and counts once: with the status of the answer,
/// with 499 if the client left before, with 500 if the service failed or panicked. A gRPC call counts
/// with the HTTP status that its gRPC status stands for.
///
/// Where telemetry is disabled or no sink wants metrics, requests are passed through.
///
/// The metrics belong to the span that is current: put this layer within a
/// [`RequestSpanLayer`](crate::RequestSpanLayer), as the [crate's example](crate) does.
#[derive(Clone, Debug)]
pub struct RequestMetricsLayer(Arc<Meter>);

/// What the services of a layer share.
#[derive(Debug)]
pub(crate) struct Meter {
    telemetry: Telemetry,
    routes: Routes,
    unknown: Arc<Api>,
    apis: RwLock<HashMap<Text, Arc<Api>>>,
}

#[derive(Debug)]
struct Api {
    name: Text,
    in_flight: Mutex<i64>,
    /// Whether it has ever answered anything but 404: a guessed name then is an API's.
    exists: AtomicBool,
}

/// A request that is being measured.
#[derive(Debug)]
pub(crate) struct MeasuredRequest {
    meter: Arc<Meter>,
    api: Arc<Api>,
    guessed: bool,
    started: Instant,
}

impl RequestMetricsLayer {
    /// Measures the requests that `routes` names. All services made by this layer and its clones
    /// count together.
    pub fn new(telemetry: Telemetry, routes: Routes) -> Self {
        let unknown = Arc::new(Api::new(Text::Borrowed(UNKNOWN)));
        Self(Arc::new(Meter { telemetry, routes, unknown, apis: RwLock::default() }))
    }
}

impl<S> Layer<S> for RequestMetricsLayer {
    type Service = Watched<S>;

    fn layer(&self, service: S) -> Watched<S> {
        Watched::new(service, Watcher::Meter(Arc::clone(&self.0)))
    }
}

impl Meter {
    pub(crate) fn watch<A>(self: &Arc<Self>, request: &Request<A>) -> Option<InFlight> {
        if !self.telemetry.interest().contains(SignalSet::METRIC) {
            return None;
        }
        let Found { api, guessed, .. } = self.routes.find(&RequestHead::of(request))?;
        let api = self.api(api);
        api.change(1, &self.telemetry);
        let meter = Arc::clone(self);
        let measured = MeasuredRequest { meter, api, guessed, started: Instant::now() };
        Some(InFlight::new(Watch::Metrics(measured), request.method(), request.headers()))
    }

    fn api(&self, name: Text) -> Arc<Api> {
        if name == UNKNOWN {
            return Arc::clone(&self.unknown);
        }
        if let Some(api) = self.apis.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Arc::clone(api);
        }
        let mut apis = self.apis.write().unwrap_or_else(PoisonError::into_inner);
        if apis.len() >= MAX_APIS && !apis.contains_key(&name) {
            return Arc::clone(&self.unknown);
        }
        Arc::clone(apis.entry(name.clone()).or_insert_with(|| Arc::new(Api::new(name))))
    }
}

impl Api {
    fn new(name: Text) -> Self {
        Self { name, in_flight: Mutex::new(0), exists: AtomicBool::new(false) }
    }

    /// Logs while it holds the count, so that the latest event is the latest count.
    fn change(&self, by: i64, telemetry: &Telemetry) {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        *in_flight += by;
        let event = Event::metric(CONCURRENT, *in_flight, "requests");
        telemetry.log_event(event.with_attributes(attrs! { "api" => self.name.clone() }));
    }
}

impl MeasuredRequest {
    pub(crate) fn ended(self, status: u16) {
        let took = self.started.elapsed().as_secs_f64();
        let Self { meter, api, guessed, .. } = self;
        if status != 404 {
            api.exists.store(true, Ordering::Relaxed);
        }
        let is_nothing = guessed && !api.exists.load(Ordering::Relaxed);
        let name = if is_nothing { &meter.unknown.name } else { &api.name };
        let labels = attrs! { "api" => name.clone(), "status" => status_label(status) };
        meter.telemetry.log_event(Event::metric(REQUESTS, 1, "requests").with_attributes(labels.clone()));
        meter.telemetry.log_event(Event::metric(DURATION, took, "seconds").with_attributes(labels));
        api.change(-1, &meter.telemetry);
    }
}

/// The status as a label; the usual ones cost no allocation.
fn status_label(status: u16) -> Text {
    Text::Borrowed(match status {
        200 => "200",
        201 => "201",
        204 => "204",
        400 => "400",
        404 => "404",
        429 => "429",
        499 => "499",
        500 => "500",
        503 => "503",
        other => return Text::Owned(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_core::known_metric;

    #[test]
    fn the_names_units_and_labels_are_llama_stacks() {
        for (name, unit, labels) in [
            (REQUESTS, "requests", ["api", "status"].as_slice()),
            (DURATION, "seconds", &["api", "status"]),
            (CONCURRENT, "requests", &["api"]),
        ] {
            let known = known_metric(name).expect("a known metric");
            assert_eq!((known.unit, known.labels), (unit, labels), "{name}");
        }
    }

    #[test]
    fn a_scan_makes_no_more_labels_than_there_is_room_for() {
        let layer = RequestMetricsLayer::new(Telemetry::disabled(), Routes::new());
        let mut names: Vec<Text> =
            (0..1_000).map(|number| layer.0.api(format!("scan-{number}").into()).name.clone()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), MAX_APIS + 1);
    }
}
