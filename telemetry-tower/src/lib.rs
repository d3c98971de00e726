//! [tower](tower_service) layers for HTTP and gRPC servers. They record request metrics and a span per request, and
//! continue the trace of the caller.
//!
//! The layers work with every server that uses tower services and `http` types, such as axum, hyper and tonic.
//!
//! # In programs
//!
//! Add both layers to the service. The span layer must be outside, so that the metrics belong to the request's span:
//!
//! ```
//! use axum::Router;
//! use axum::routing::post;
//! use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec};
//! use telemetry_tower::{RequestMetricsLayer, RequestSpanLayer, Routes};
//! # use telemetry_testkit::{CaptureSink, READY_MADE, ready_made};
//! # use tower::ServiceExt as _;
//! # let (sink, seen) = CaptureSink::new();
//! # let sinks = vec![SinkSpec { entry: &READY_MADE, context: ready_made(sink.built()) }];
//!
//! // `sinks` come from the provider.
//! let pipeline = Pipeline::start(sinks, PipelineConfig::default())?;
//! let telemetry = pipeline.telemetry();
//! let routes = Routes::new().route("/v1/chat/completions", "inference");
//! let app: Router = Router::new()
//!     .route("/v1/chat/completions", post(async || "hello"))
//!     // In axum, the layer added last is the outermost.
//!     .layer(RequestMetricsLayer::new(telemetry.clone(), routes.clone()))
//!     .layer(RequestSpanLayer::new(telemetry, routes));
//! # let request = http::Request::post("/v1/chat/completions").body(axum::body::Body::empty())?;
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # let answer = runtime.block_on(app.oneshot(request))?;
//! # runtime.block_on(axum::body::to_bytes(answer.into_body(), 9))?;
//! # pipeline.shutdown(std::time::Duration::from_secs(10));
//!
//! // After the first request, the sinks have its span and its four metric points.
//! let span = &seen.ended_spans()[0];
//! assert_eq!(span.name, "POST /v1/chat/completions");
//! assert_eq!(span.events.len(), 4);
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! In a handler, the request's span is the current one. `telemetry.span(…)` starts a child of it, and
//! `telemetry.log_event(…)` logs in it. To set its attributes or to fail it, use its
//! [`SpanHandle`](telemetry_pipeline::SpanHandle): an extension of the request, or
//! [`Telemetry::current`](telemetry_pipeline::Telemetry::current). Every request has the extension, also if telemetry is
//! disabled or the path is excluded. [`RequestSpanLayer`] has an example.
//!
//! # What is recorded
//!
//! - [`RequestMetricsLayer`] counts requests, measures their duration, and counts those in flight, by API and status.
//! - [`RequestSpanLayer`] records a span with the method, the route, the path, the user agent and the status.
//!
//! A request ends with the last byte of its answer, so that a streamed answer is measured to its end. It ends exactly
//! once, with one of these statuses:
//!
//! | What happens | Status |
//! |---|---|
//! | The answer is complete | that of the answer. For gRPC, the HTTP status that corresponds to the gRPC status |
//! | The client leaves early, or a timeout drops the request | 499 |
//! | The service returns an error or panics, or the body fails | 500 |
//!
//! # What is not
//!
//! - Bodies and query strings are not recorded, and of the headers only `user-agent`, `traceparent` and `tracestate`.
//! - Paths without a route don't become names or labels: the API is `unknown`.
//! - Requests for the paths that [`Routes`] excludes are not watched.
//!
//! The layers never delay a request and never fail it. Bodies pass through frame by frame, without a buffer. If telemetry
//! is disabled, a request costs one comparison and the extension.

mod in_flight;
mod layers;
mod request_metrics;
mod request_span;
mod response;
mod routes;
mod status;

pub use layers::{RequestMetricsLayer, RequestSpanLayer, WatchedService};
pub use response::{ResponseBody, ResponseFuture};
pub use routes::{RequestHead, Route, Routes, UNKNOWN, api_of};
