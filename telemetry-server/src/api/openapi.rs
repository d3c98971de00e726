//! The OpenAPI document, made from the handlers and the types they describe.

use std::sync::OnceLock;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::{admin, events, logs, metrics, otlp, schema, spans, traces};

/// Llama Stack's routes, below `/v1/telemetry` and `/v1alpha/telemetry` alike.
#[derive(OpenApi)]
#[openapi(paths(
    events::log,
    traces::query,
    traces::get,
    spans::get,
    spans::query,
    spans::export,
    spans::tree,
    metrics::query,
    logs::query,
    admin::ledger
))]
struct Telemetry;

/// The routes without that prefix.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "telemetry",
        description = "Llama Stack's telemetry API, an OTLP receiver and Prometheus's page. \
                       What stands below /v1/telemetry stands below /v1alpha/telemetry too."
    ),
    components(schemas(schema::Invalid, schema::Failure, schema::OtlpFailure)),
    paths(otlp::traces, otlp::metrics, otlp::logs, admin::metrics, admin::health, admin::version)
)]
struct Server;

/// The document.
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
        // The routes as they are written; each group of handlers is one file.
        let sources = [include_str!("mod.rs"), include_str!("otlp.rs")];
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
