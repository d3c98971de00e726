//! Bearer tokens of the API.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::body::Body;
use axum::http::{Method, Request, Response};
use telemetry_core::{Entry, Location, OptionValue, Options};
use telemetry_pipeline::{Pipeline, PipelineConfig};
use telemetry_server::{Settings, Tokens, router};
use tower::ServiceExt as _;

const EVENT: &str =
    r#"{"event": {"type": "metric", "metric": "m", "value": 1, "unit": "1", "timestamp": 0}}"#;

fn token(token: &str, scope: &str) -> Entry {
    let entry = |value| Entry { value, location: Location::default() };
    let text = |text: &str| entry(OptionValue::Text(text.to_owned()));
    entry(OptionValue::Map(vec![("token".into(), text(token)), ("scopes".into(), text(scope))]))
}

/// Sends a request to a server with a token for each set of scopes.
async fn send(method: Method, path: &str, token_given: Option<&str>, body: &str) -> Response<Body> {
    let tokens = vec![
        token("r", "telemetry.read"),
        token("w", "telemetry.write"),
        token("rw", "telemetry.read,telemetry.write"),
    ];
    let entry = Entry { value: OptionValue::List(tokens), location: Location::default() };
    let tokens = Tokens::from_options(&Options::new(vec![("tokens".into(), entry)])).unwrap();
    let pipeline = Pipeline::start(Vec::new(), PipelineConfig::default()).unwrap();
    let api = router(pipeline.telemetry(), &Settings { tokens, ..Settings::default() });
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token_given {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    api.oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap()
}

#[tokio::test]
async fn each_route_requires_its_scope() {
    // Statuses without a token, then with one that reads, writes, does both. 503 means allowed, but there is no store.
    for (method, path, body, expected) in [
        (Method::POST, "/v1/telemetry/events", EVENT, [401, 403, 200, 200]),
        (Method::POST, "/v1alpha/telemetry/events", EVENT, [401, 403, 200, 200]),
        (Method::POST, "/v1/telemetry/traces", "{}", [401, 503, 403, 503]),
        (Method::GET, "/v1/telemetry/ledger", "", [401, 200, 403, 200]),
        (Method::GET, "/metrics", "", [401, 200, 403, 200]),
        (Method::POST, "/v1/telemetry/spans/export", "{}", [401, 403, 403, 400]),
        (Method::GET, "/v1/health", "", [200; 4]),
    ] {
        let mut statuses = Vec::new();
        for token in [None, Some("r"), Some("w"), Some("rw")] {
            statuses.push(send(method.clone(), path, token, body).await.status().as_u16());
        }
        assert_eq!(statuses, expected, "{path}");
    }
}

#[tokio::test]
async fn an_error_names_what_is_missing_and_repeats_no_token() {
    for (given, challenge) in [
        (None, "Bearer"),
        (Some("guess"), "Bearer error=\"invalid_token\""),
        (Some("r"), "Bearer error=\"insufficient_scope\", scope=\"telemetry.write\""),
    ] {
        let answer = send(Method::POST, "/v1/telemetry/events", given, EVENT).await;
        assert_eq!(answer.headers()["www-authenticate"], challenge);
        assert!(answer.headers().contains_key("x-trace-id"));
        let body = axum::body::to_bytes(answer.into_body(), 1_000).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("guess"));
    }
}
