//! A server over the in-memory store, and helpers for requests.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use serde_json::{Value as Json, json};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec};
use telemetry_server::{Settings, router};
use telemetry_testkit::{MemoryStore, READY_MADE, ready_made};
use tower::ServiceExt as _;

pub(crate) const PROTOBUF: &str = "application/x-protobuf";
pub(crate) const JSON: &str = "application/json";

/// A server without a socket.
pub(crate) struct Server {
    router: Router,
    _pipeline: Pipeline,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or(Json::Null)
    }

    pub(crate) fn content_type(&self) -> &str {
        self.headers.get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    /// Starts a server with an empty store.
    pub(crate) fn new() -> Self {
        Self::over(&MemoryStore::new("the-server"), &Settings::default())
    }

    /// Starts a server over the store of an earlier one.
    pub(crate) fn over(store: &MemoryStore, settings: &Settings) -> Self {
        let spec = SinkSpec { entry: &READY_MADE, context: ready_made(store.built()) };
        let pipeline = Pipeline::start(vec![spec], PipelineConfig::default()).unwrap();
        let router = router(pipeline.telemetry(), settings);
        Self { router, _pipeline: pipeline }
    }

    /// Posts a body with these headers.
    pub(crate) async fn send(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_vec())).unwrap();
        self.answer(request).await
    }

    /// Posts OTLP.
    pub(crate) async fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        self.send(path, &[("content-type", content_type)], body).await
    }

    /// Posts OTLP in JSON, and checks that every record is stored.
    pub(crate) async fn stores(&self, path: &str, body: &Json) {
        let answer = self.post(path, JSON, body.to_string().as_bytes()).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({})), "{path} {body}");
    }

    /// Sends a query.
    pub(crate) async fn query(&self, path: &str, body: &Json) -> Json {
        let path = format!("/v1/telemetry{path}");
        let answer = self.post(&path, JSON, body.to_string().as_bytes()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path} {body}: {}", answer.json());
        answer.json()
    }

    /// Sends a GET request.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.answer(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Returns the values of all points of a metric.
    pub(crate) async fn values(&self, metric: &str) -> Vec<f64> {
        let answer = self.query(&format!("/metrics/{metric}"), &json!({"start_time": 0})).await;
        let series = answer["data"].as_array().unwrap();
        let values = series.iter().flat_map(|series| series["values"].as_array().unwrap());
        values.map(|point| point["value"].as_f64().unwrap()).collect()
    }
}

/// Returns an attribute in protobuf.
pub(crate) fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

/// Returns a request with one resource and one scope, in JSON.
pub(crate) fn in_scope(resources: &str, scopes: &str, records: &str, items: &Json) -> Json {
    json!({resources: [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "chat"}}]},
        scopes: [{"scope": {"name": "lib", "version": "1.2"}, records: items}],
    }]})
}

/// Returns a request with spans, in JSON.
pub(crate) fn spans(items: &Json) -> Json {
    in_scope("resourceSpans", "scopeSpans", "spans", items)
}

/// Returns a request with metrics, in JSON.
pub(crate) fn metrics(items: &Json) -> Json {
    in_scope("resourceMetrics", "scopeMetrics", "metrics", items)
}

/// Returns a request with logs, in JSON.
pub(crate) fn logs(items: &Json) -> Json {
    in_scope("resourceLogs", "scopeLogs", "logRecords", items)
}
