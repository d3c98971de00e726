//! [tower](tower_service) layers for servers: request metrics, the request's span, trace context in
//! and out.
//!
//! They work with whatever speaks tower and HTTP: axum, plain hyper, tonic.
//!
//! ```
//! use axum::Router;
//! use axum::routing::post;
//! use telemetry_pipeline::Telemetry;
//! use telemetry_tower::{RequestMetricsLayer, RequestSpanLayer, Routes};
//!
//! # let telemetry = Telemetry::disabled();
//! let routes = Routes::new().route("/v1/chat/completions", "inference");
//! let app: Router = Router::new()
//!     .route("/v1/chat/completions", post(async || "hello"))
//!     // In axum the layer added last is the outermost: metrics within the span.
//!     .layer(RequestMetricsLayer::new(telemetry.clone(), routes.clone()))
//!     .layer(RequestSpanLayer::new(telemetry.clone(), routes));
//! ```
//!
//! # When a request ends
//!
//! With the last byte of its answer, so that a streamed answer is measured whole; and always once:
//!
//! | What happens | Status |
//! |---|---|
//! | The answer is complete | the answer's; for gRPC the HTTP status that its gRPC status stands for |
//! | The client leaves before, or a timeout drops the request | 499 |
//! | The service returns an error or panics; the body breaks off | 500 |
//!
//! # In a handler
//!
//! The request's span is the current one: `telemetry.span(…)` makes a child of it, `telemetry.log_event(…)`
//! logs in it. Its attributes are set, and it is failed, by a
//! [`SpanHandle`](telemetry_pipeline::SpanHandle): the request's extension of that type, or
//! [`Telemetry::current`](telemetry_pipeline::Telemetry::current). The extension is there where telemetry
//! is disabled and for paths that are not watched, too, so a handler may always ask for it;
//! [`RequestSpanLayer`] has an example.
//!
//! # What it costs
//!
//! Requests are never delayed and never fail for telemetry's sake. Where telemetry is disabled, a layer
//! is one comparison, and the handler's extension; bodies are passed on frame by frame, nothing is
//! buffered.

mod body;
mod future;
mod in_flight;
mod metrics;
mod routes;
mod service;
mod span;

pub use body::ResponseBody;
pub use future::ResponseFuture;
pub use metrics::RequestMetricsLayer;
pub use routes::{RequestHead, Route, Routes, UNKNOWN, api_of};
pub use service::Watched;
pub use span::RequestSpanLayer;
