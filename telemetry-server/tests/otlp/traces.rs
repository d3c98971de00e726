//! Spans: the queries return what was sent.

use axum::http::StatusCode;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::{Value as Json, json};

use crate::support::{JSON, PROTOBUF, Server, attribute, spans};

const TRACE: &str = "5b8efff798038103d269b633813fc60c";
const ROOT: &str = "eee19b7ec3c1b173";
const CHILD: &str = "eee19b7ec3c1b174";

/// Returns a span with every field set.
fn full_span() -> Json {
    json!({
        "traceId": TRACE, "spanId": CHILD, "parentSpanId": ROOT, "traceState": "a=b", "flags": 0x301,
        "name": "chat llama", "kind": 3, "startTimeUnixNano": "1700000000000000001",
        "endTimeUnixNano": 1_700_000_001_500_000_001_u64,
        "attributes": [
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "12"}},
            {"key": "temperature", "value": {"doubleValue": 0.5}},
            {"key": "nan", "value": {"doubleValue": "NaN"}},
            {"key": "stream", "value": {"boolValue": true}},
            {"key": "stop", "value": {"arrayValue": {"values": [{"stringValue": "\n"}, {"intValue": 7}]}}},
            {"key": "empty", "value": {"arrayValue": {}}},
            {"key": "options", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": false}}]}}},
            {"key": "bytes", "value": {"bytesValue": "AAEC"}},
            {"key": "null"},
        ],
        "droppedAttributesCount": 2,
        "events": [{"name": "first token", "timeUnixNano": "1700000000500000000",
                    "attributes": [{"key": "n", "value": {"intValue": "1"}}]}],
        "links": [{"traceId": TRACE, "spanId": ROOT, "attributes": [{"key": "l", "value": {"stringValue": "x"}}]}],
        "status": {"code": 2, "message": "out of tokens"},
    })
}

#[tokio::test]
async fn every_field_of_a_span_is_stored() {
    let server = Server::new();
    server.stores("/v1/traces", &spans(&json!([full_span()]))).await;
    let span = server.get(&format!("/v1/telemetry/traces/{TRACE}/spans/{CHILD}")).await.json();
    assert_eq!(
        span["attributes"],
        json!({
            "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 12, "temperature": 0.5, "nan": "NaN",
            "stream": true, "stop": "[\"\\n\",7]", "empty": "[]", "options": "{\"k\":false}", "bytes": "AAEC",
            "null": null, "otel.status_description": "out of tokens",
            "otel.links": format!("[{{\"trace_id\":\"{TRACE}\",\"span_id\":\"{ROOT}\",\"attributes\":{{\"l\":\"x\"}}}}]"),
            "otel.scope.name": "lib", "otel.scope.version": "1.2", "service.name": "chat",
        })
    );
    assert_eq!(span["parent_span_id"], ROOT);
    assert_eq!(span["name"], "chat llama");
    assert_eq!(span["kind"], "client");
    assert_eq!(span["service_name"], "chat");
    assert_eq!(span["status"], "error");
    assert_eq!(span["start_time"], "2023-11-14T22:13:20.000000001Z");
    assert_eq!(span["end_time"], "2023-11-14T22:13:21.500000001Z");
    assert_eq!(span["events"].as_array().unwrap().len(), 1, "{span}");
}

#[tokio::test]
async fn protobuf_is_answered_in_protobuf_and_json_in_json() {
    let server = Server::new();
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "chat".into(),
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        ..Span::default()
    };
    let bad = Span { span_id: Vec::new(), ..span.clone() };
    let resource = Some(Resource { attributes: vec![attribute("service.name", "s")], ..Resource::default() });
    let scope_spans = vec![ScopeSpans { spans: vec![span, bad], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans };
    let answer = server.post("/v1/traces", PROTOBUF, &request.encode_to_vec()).await;
    assert_eq!((answer.status, answer.content_type()), (StatusCode::OK, PROTOBUF));
    let partial = ExportTraceServiceResponse::decode(&answer.body[..]).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert_eq!(partial.error_message, "invalid span_id ``: expected 8 bytes, not all zero");
    let found = server.query("/traces", &json!({})).await;
    assert_eq!(found["data"].as_array().unwrap().len(), 1, "the valid neighbour is stored");
    let answer = server.post("/v1/traces", JSON, b"{}").await;
    assert_eq!((answer.status, answer.content_type(), answer.json()), (StatusCode::OK, JSON, json!({})));
}

#[tokio::test]
async fn an_invalid_span_in_json_does_not_affect_its_neighbours() {
    let server = Server::new();
    let good = |id: &str| json!({"traceId": TRACE, "spanId": id, "name": "n", "startTimeUnixNano": "1", "endTimeUnixNano": "2"});
    let with = |field: &str, value: Json| {
        let mut span = good("00000000000000ff");
        span[field] = value;
        span
    };
    let bad = [
        with("traceId", json!("abc")),
        with("traceId", json!("00000000000000000000000000000000")),
        with("traceId", json!("5b8efff7-9803-8103-d269-b633813fc60c")),
        with("traceId", json!(7)),
        with("spanId", json!("0x1b7ec3c1b17455")),
        with("spanId", json!("")),
        with("parentSpanId", json!("parent_span_id")),
        with("startTimeUnixNano", json!("yesterday")),
        with("startTimeUnixNano", json!(u64::MAX)),
        with("startTimeUnixNano", json!(-1)),
        with("attributes", json!("none")),
        json!("a span"),
        json!([]),
    ];
    let mut items = vec![good("0000000000000001")];
    items.extend(bad.clone());
    items.push(good("0000000000000002"));
    let answer = server.post("/v1/traces", JSON, spans(&items.into()).to_string().as_bytes()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let partial = &answer.json()["partialSuccess"];
    assert_eq!(partial["rejectedSpans"], bad.len().to_string(), "{partial}");
    let reason = "invalid traceId \"abc\": expected text of 32 hexadecimal digits";
    assert!(partial["errorMessage"].as_str().unwrap().starts_with(reason), "{partial}");
    let tree = server.query("/spans", &json!({"attribute_filters": [], "attributes_to_return": []})).await;
    assert_eq!(tree["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_request_without_a_valid_record_is_a_bad_request() {
    let server = Server::new();
    let answer =
        server.post("/v1/traces", JSON, spans(&json!([{"traceId": "1"}])).to_string().as_bytes()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["code"], 3, "google.rpc.Code INVALID_ARGUMENT");
}

#[tokio::test]
async fn a_span_sent_again_is_stored_once() {
    let server = Server::new();
    for _ in 0..2 {
        server.stores("/v1/traces", &spans(&json!([full_span()]))).await;
    }
    let logs = server.query("/logs", &json!({})).await;
    assert_eq!(logs["data"].as_array().unwrap().len(), 1, "its event is stored once: {logs}");
}

#[tokio::test]
async fn a_span_without_an_end_is_unfinished_until_the_whole_span_arrives() {
    let server = Server::new();
    let mut half = full_span();
    half.as_object_mut().unwrap().remove("endTimeUnixNano");
    server.stores("/v1/traces", &spans(&json!([half]))).await;
    let path = format!("/v1/telemetry/traces/{TRACE}/spans/{CHILD}");
    let span = server.get(&path).await.json();
    assert_eq!((&span["unfinished"], &span["end_time"]), (&json!(true), &Json::Null));
    server.stores("/v1/traces", &spans(&json!([full_span()]))).await;
    let span = server.get(&path).await.json();
    assert_eq!(
        (&span["unfinished"], &span["end_time"]),
        (&Json::Null, &json!("2023-11-14T22:13:21.500000001Z"))
    );
}

#[tokio::test]
async fn the_largest_dropped_counts_do_no_harm() {
    let server = Server::new();
    let mut span = full_span();
    (span["droppedAttributesCount"], span["droppedEventsCount"]) = (json!(u32::MAX), json!(u32::MAX));
    let many: Vec<Json> =
        (0..10_001).map(|n| json!({"key": format!("k{n}"), "value": {"intValue": n}})).collect();
    span["attributes"] = many.into();
    span["events"] = vec![json!({"name": "e"}); 10_001].into();
    server.stores("/v1/traces", &spans(&json!([span]))).await;
    let found = server.get(&format!("/v1/telemetry/traces/{TRACE}/spans/{CHILD}")).await.json();
    assert_eq!(found["attributes"].as_object().unwrap().len(), 10_000, "the limit of a span");
}

#[tokio::test]
async fn json_may_have_field_names_in_snake_case() {
    let server = Server::new();
    let span = json!({"trace_id": TRACE, "span_id": CHILD, "parent_span_id": ROOT, "name": "chat",
        "start_time_unix_nano": "1", "end_time_unix_nano": "2",
        "attributes": [{"key": "gen_ai.system_name", "value": {"string_value": "x"}}]});
    server.stores("/v1/traces", &json!({"resource_spans": [{"scope_spans": [{"spans": [span]}]}]})).await;
    let span = server.get(&format!("/v1/telemetry/traces/{TRACE}/spans/{CHILD}")).await.json();
    assert_eq!(span["parent_span_id"], ROOT);
    assert_eq!(span["attributes"], json!({"gen_ai.system_name": "x"}));
}

#[tokio::test]
async fn json_may_have_integers_as_floats_and_bytes_in_either_base64_alphabet() {
    let server = Server::new();
    let mut span = full_span();
    (span["startTimeUnixNano"], span["endTimeUnixNano"]) = (json!(1.7e18), json!(1.7e18));
    span["attributes"] = json!([
        {"key": "int", "value": {"intValue": 3.0}}, {"key": "float", "value": {"doubleValue": 3.0}},
        {"key": "-0", "value": {"doubleValue": -0.0}}, {"key": "url", "value": {"bytesValue": "-_8"}},
    ]);
    server.stores("/v1/traces", &spans(&json!([span]))).await;
    let span = server.get(&format!("/v1/telemetry/traces/{TRACE}/spans/{CHILD}")).await.json();
    assert_eq!(span["start_time"], "2023-11-14T22:13:20Z");
    let of = |key: &str| span["attributes"][key].to_string();
    assert_eq!(["int", "float", "-0", "url"].map(of), ["3", "3.0", "-0.0", r#""+/8=""#]);
}
