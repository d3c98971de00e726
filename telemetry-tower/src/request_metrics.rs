//! Request metrics: how many requests, how long they take, how many at the same time.

use std::collections::HashMap;
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
/// Names without an answer other than 404 whose requests in flight are shown all the same. A new API is among them until its
/// first answer. A scan of paths that do not exist uses them up, and creates no further labels.
const MAX_UNPROVEN: usize = 8;

/// Measures the requests of all services of a layer.
#[derive(Debug)]
pub(crate) struct Meter {
    telemetry: Telemetry,
    routes: Routes,
    unknown: Arc<Api>,
    /// APIs that exist.
    apis: RwLock<HashMap<Text, Arc<Api>>>,
    /// Names that a path suggested, and that were never answered with anything but 404.
    unproven: Mutex<HashMap<Text, Arc<Api>>>,
}

#[derive(Debug)]
struct Api {
    name: Text,
    in_flight: Mutex<i64>,
}

/// A request that is being measured.
#[derive(Debug)]
pub(crate) struct MeasuredRequest {
    meter: Arc<Meter>,
    api: RequestApi,
    started: Instant,
}

/// The API of a request.
#[derive(Debug)]
enum RequestApi {
    /// A route names it, or it has answered a request before.
    Known(Arc<Api>),
    /// The path suggests it. Whether it exists is known from the status of the answer.
    Unproven(Arc<Api>),
    /// As `Unproven`, without a label for its requests in flight.
    Guessed(Text),
}

impl Meter {
    pub(crate) fn new(telemetry: Telemetry, routes: Routes) -> Self {
        let unknown = Arc::new(Api::new(Text::Borrowed(UNKNOWN)));
        Self { telemetry, routes, unknown, apis: RwLock::default(), unproven: Mutex::default() }
    }

    /// Starts to measure a request. Returns `None` for a request that is not measured.
    pub(crate) fn start<A>(self: &Arc<Self>, request: &Request<A>) -> Option<MeasuredRequest> {
        if !self.telemetry.interest().contains(SignalSet::METRIC) {
            return None;
        }
        let RequestName { api, guessed, .. } = self.routes.name(&RequestHead::of(request))?;
        let api = match self.known(&api) {
            Some(known) => RequestApi::Known(known),
            None if guessed => self.guess(api),
            None => RequestApi::Known(self.add(Arc::new(Api::new(api)))),
        };
        if let RequestApi::Known(api) | RequestApi::Unproven(api) = &api {
            api.change(1, &self.telemetry);
        }
        Some(MeasuredRequest { meter: Arc::clone(self), api, started: Instant::now() })
    }

    /// Returns an API that has a label already.
    fn known(&self, name: &Text) -> Option<Arc<Api>> {
        if name == UNKNOWN {
            return Some(Arc::clone(&self.unknown));
        }
        self.apis.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn guess(&self, name: Text) -> RequestApi {
        let mut unproven = self.unproven.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(api) = unproven.get(&name) {
            return RequestApi::Unproven(Arc::clone(api));
        }
        if unproven.len() >= MAX_UNPROVEN {
            return RequestApi::Guessed(name);
        }
        let api = Arc::new(Api::new(name.clone()));
        unproven.insert(name, Arc::clone(&api));
        RequestApi::Unproven(api)
    }

    /// Adds an API that exists. Returns it, or the one that was added before, or `unknown` if there are too many.
    fn add(&self, api: Arc<Api>) -> Arc<Api> {
        self.unproven.lock().unwrap_or_else(PoisonError::into_inner).remove(&api.name);
        let mut apis = self.apis.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = apis.get(&api.name) {
            return Arc::clone(known);
        }
        if apis.len() >= MAX_APIS {
            return Arc::clone(&self.unknown);
        }
        apis.insert(api.name.clone(), Arc::clone(&api));
        api
    }
}

impl Api {
    fn new(name: Text) -> Self {
        Self { name, in_flight: Mutex::new(0) }
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
        let Self { meter, api, .. } = self;
        // Any status but 404 shows that the API exists.
        let exists = status != 404;
        let (counted, in_flight) = match api {
            RequestApi::Known(api) => (Arc::clone(&api), api),
            RequestApi::Unproven(api) if exists => (meter.add(Arc::clone(&api)), api),
            RequestApi::Unproven(api) => {
                (meter.known(&api.name).unwrap_or_else(|| Arc::clone(&meter.unknown)), api)
            }
            RequestApi::Guessed(name) => {
                let api =
                    if exists { meter.add(Arc::new(Api::new(name))) } else { Arc::clone(&meter.unknown) };
                // It was not shown as in flight until now.
                api.change(1, &meter.telemetry);
                (Arc::clone(&api), api)
            }
        };
        let labels = attrs! { "api" => counted.name.clone(), "status" => status_label(status) };
        meter.telemetry.log_event(Event::metric(REQUESTS, 1, "requests").with_attributes(labels.clone()));
        meter.telemetry.log_event(Event::metric(DURATION, took, "seconds").with_attributes(labels));
        in_flight.change(-1, &meter.telemetry);
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
    fn a_scan_creates_few_labels_and_pushes_out_no_api() {
        let (sink, seen) = telemetry_testkit::CaptureSink::new();
        let spec = telemetry_pipeline::SinkSpec {
            entry: &telemetry_testkit::READY_MADE,
            context: telemetry_testkit::ready_made(sink.built()),
        };
        let pipeline =
            telemetry_pipeline::Pipeline::start(vec![spec], telemetry_pipeline::PipelineConfig::default())
                .expect("it starts");
        let meter = Arc::new(Meter::new(pipeline.telemetry(), Routes::new()));
        let request = |path: &str, status| {
            let request = Request::builder().uri(path).body(()).expect("a request");
            meter.start(&request).expect("it is measured").end(status);
        };
        (0..1_000).for_each(|number| request(&format!("/v1/scan-{number}/x"), 404));
        request("/v1/inference/chat", 200);
        request("/v1/inference/none", 404);
        pipeline.shutdown(std::time::Duration::from_secs(30));
        let mut apis: Vec<String> = seen
            .signals()
            .iter()
            .filter_map(|signal| match signal {
                telemetry_core::Signal::Metric(point) => point.attributes.get("api").map(ToString::to_string),
                _ => None,
            })
            .collect();
        apis.sort();
        apis.dedup();
        assert!(apis.contains(&"inference".to_owned()), "{apis:?}");
        assert_eq!(apis.len(), MAX_UNPROVEN + 2, "{apis:?}");
    }
}
