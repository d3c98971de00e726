//! The OpenAPI document, generated from the handlers and the types of their bodies.

use std::sync::OnceLock;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use crate::api::{admin, events, otlp, queries, schema};

/// Llama Stack's routes, below both `/v1/telemetry` and `/v1alpha/telemetry`.
#[derive(OpenApi)]
#[openapi(paths(
    events::log,
    queries::query_traces,
    queries::get_trace,
    queries::get_span,
    queries::query_spans,
    queries::export_spans,
    queries::get_span_tree,
    queries::query_metrics,
    queries::query_logs,
    admin::ledger
))]
struct Telemetry;

/// The routes without that prefix.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "telemetry",
        description = "Llama Stack's telemetry API, an OTLP receiver and metrics for Prometheus. \
                       Every path below /v1/telemetry also exists below /v1alpha/telemetry."
    ),
    components(schemas(schema::Invalid, schema::Failure, schema::OtlpFailure)),
    paths(
        otlp::receive_traces,
        otlp::receive_metrics,
        otlp::receive_logs,
        admin::metrics,
        admin::health,
        admin::version
    )
)]
struct Server;

/// Builds the document.
fn document() -> utoipa::openapi::OpenApi {
    let mut document = Server::openapi().nest("/v1/telemetry", Telemetry::openapi());
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = document.components.get_or_insert_with(Default::default);
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    document
}

pub(super) async fn get() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_json().unwrap_or_default());
    ([(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described() {
        // The routes as the source code of the routers has them.
        let sources = [include_str!("router.rs"), include_str!("otlp.rs")];
        let routes = sources.iter().flat_map(|source| source.split(".route(\"").skip(1));
        let mut routes: Vec<&str> = routes.filter_map(|rest| rest.split('"').next()).collect();
        routes.retain(|route| *route != "/openapi.json");
        routes.sort_unstable();
        let paths = document().paths.paths;
        let mut described: Vec<&str> =
            paths.keys().map(|path| path.strip_prefix("/v1/telemetry").unwrap_or(path)).collect();
        described.sort_unstable();
        assert_eq!(described, routes);
    }
}
