//! Log records.

use serde_json::json;

use crate::support::{Server, logs};

#[tokio::test]
async fn every_field_of_a_log_is_stored() {
    let server = Server::new();
    let (trace, span) = ("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174");
    let log = json!({
        "timeUnixNano": "1700000000000000000", "observedTimeUnixNano": "1700000001000000000",
        "severityNumber": 13, "severityText": "WARNING", "body": {"stringValue": "slow answer"},
        "attributes": [{"key": "ms", "value": {"intValue": "900"}}], "flags": 1,
        "traceId": trace.to_uppercase(), "spanId": span, "eventName": "slow",
    });
    server.stores("/v1/logs", &logs(&json!([log]))).await;
    let found = &server.query("/logs", &json!({"trace_id": trace})).await["data"][0];
    assert_eq!(found["message"], "slow answer");
    assert_eq!(found["severity"], "warn");
    assert_eq!(found["timestamp"], "2023-11-14T22:13:20Z");
    assert_eq!((&found["trace_id"], &found["span_id"]), (&json!(trace), &json!(span)));
    assert_eq!(
        found["attributes"],
        json!({
            "ms": 900, "severity_text": "WARNING", "event.name": "slow", "otel.scope.name": "lib",
            "otel.scope.version": "1.2", "service.name": "chat",
        })
    );
}

#[tokio::test]
async fn a_body_that_is_not_text_becomes_json() {
    let server = Server::new();
    let body = json!({"kvlistValue": {"values": [{"key": "k", "value": {"doubleValue": 1.5}}]}});
    server
        .stores("/v1/logs", &logs(&json!([{"timeUnixNano": "1", "body": body}, {"timeUnixNano": "2"}])))
        .await;
    let found = server.query("/logs", &json!({})).await;
    assert_eq!(found["data"][1]["message"], r#"{"k":1.5}"#);
    assert_eq!(found["data"][0]["message"], "");
}

#[tokio::test]
async fn a_log_without_a_time_has_the_time_of_observation() {
    let server = Server::new();
    server.stores("/v1/logs", &logs(&json!([{"observedTimeUnixNano": "1700000001000000000"}]))).await;
    let found = server.query("/logs", &json!({})).await;
    assert_eq!(found["data"][0]["timestamp"], "2023-11-14T22:13:21Z");
}
