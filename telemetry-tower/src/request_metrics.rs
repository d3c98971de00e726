//! Request metrics: how many requests, how long they take, how many at the same time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use http::Request;
use telemetry_core::{Event, SignalSet, Text, attrs};
use telemetry_pipeline::Telemetry;

use crate::routes::{RequestHead, RequestName, Routes, UNKNOWN};
use crate::status::status_label;

const REQUESTS: &str = "llama_stack_requests_total";
const DURATION: &str = "llama_stack_request_duration_seconds";
const CONCURRENT: &str = "llama_stack_concurrent_requests";

/// Distinct values of the label `api`. Further ones become `unknown`.
const MAX_APIS: usize = 64;

/// Measures the requests of all services of a layer.
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
    /// True once a request of this API was answered with anything but 404. Until then, a name that was guessed from the
    /// path may belong to no API.
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

impl Meter {
    pub(crate) fn new(telemetry: Telemetry, routes: Routes) -> Self {
        let unknown = Arc::new(Api::new(Text::Borrowed(UNKNOWN)));
        Self { telemetry, routes, unknown, apis: RwLock::default() }
    }

    /// Starts to measure a request. Returns `None` for a request that is not measured.
    pub(crate) fn start<A>(self: &Arc<Self>, request: &Request<A>) -> Option<MeasuredRequest> {
        if !self.telemetry.interest().contains(SignalSet::METRIC) {
            return None;
        }
        let RequestName { api, guessed, .. } = self.routes.name(&RequestHead::of(request))?;
        let api = self.api(api);
        api.change(1, &self.telemetry);
        Some(MeasuredRequest { meter: Arc::clone(self), api, guessed, started: Instant::now() })
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

    /// Changes the number of requests in flight and logs it. The lock is kept while it logs, so that the latest event has
    /// the latest number.
    fn change(&self, by: i64, telemetry: &Telemetry) {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        *in_flight += by;
        let event = Event::metric(CONCURRENT, *in_flight, "requests");
        telemetry.log_event(event.with_attributes(attrs! { "api" => self.name.clone() }));
    }
}

impl MeasuredRequest {
    /// Logs the metrics of the end of a request.
    pub(crate) fn end(self, status: u16) {
        let took = self.started.elapsed().as_secs_f64();
        let Self { meter, api, guessed, .. } = self;
        if status != 404 {
            api.exists.store(true, Ordering::Relaxed);
        }
        let is_unknown = guessed && !api.exists.load(Ordering::Relaxed);
        let name = if is_unknown { &meter.unknown.name } else { &api.name };
        let labels = attrs! { "api" => name.clone(), "status" => status_label(status) };
        meter.telemetry.log_event(Event::metric(REQUESTS, 1, "requests").with_attributes(labels.clone()));
        meter.telemetry.log_event(Event::metric(DURATION, took, "seconds").with_attributes(labels));
        api.change(-1, &meter.telemetry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_core::known_metric;

    #[test]
    fn names_units_and_labels_are_those_of_llama_stack() {
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
    fn a_scan_can_not_create_unlimited_labels() {
        let meter = Meter::new(Telemetry::disabled(), Routes::new());
        let mut names: Vec<Text> =
            (0..1_000).map(|number| meter.api(format!("scan-{number}").into()).name.clone()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), MAX_APIS + 1);
    }
}
