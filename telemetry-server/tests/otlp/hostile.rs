//! Invalid input of every kind: the error is clear, and the server keeps serving.

use std::io::Write as _;
use std::path::Path;

use axum::http::StatusCode;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use serde_json::json;
use telemetry_core::{OptionValue, Options};
use telemetry_server::{Limits, Settings, Tokens};
use telemetry_testkit::MemoryStore;

use crate::support::{JSON, PROTOBUF, Server, logs, metrics, spans};

const ROUTES: [&str; 3] = ["/v1/traces", "/v1/metrics", "/v1/logs"];

/// `google.rpc.Status`, the body of error answers.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Returns the files of the corpus: route, name, bytes. A name begins with the expected status.
fn corpus() -> Vec<(&'static str, String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/otlp/corpus");
    let mut files = Vec::new();
    for route in ROUTES {
        let folder = folder.join(route.trim_start_matches("/v1/"));
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.push((route, name, std::fs::read(path).unwrap()));
        }
    }
    files.sort();
    assert!(files.len() >= 20, "only {} files were read", files.len());
    files
}

fn content_type(name: &str) -> &'static str {
    if Path::new(name).extension().is_some_and(|extension| extension == "json") { JSON } else { PROTOBUF }
}

/// Returns true for success and for a client error. No input may cause a server error.
fn is_expected(status: StatusCode) -> bool {
    status.is_success() || status.is_client_error()
}

/// Checks that the server still stores a span and returns it.
async fn still_serves(server: &Server) {
    let span = json!({"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "00f067aa0ba902b7", "name": "alive",
                      "startTimeUnixNano": "1", "endTimeUnixNano": "2"});
    server.stores("/v1/traces", &spans(&json!([span]))).await;
    let answer = server.get("/v1/telemetry/traces/0af7651916cd43dd8448eb211c80319c").await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn every_file_of_the_corpus_gets_the_status_in_its_name() {
    let server = Server::new();
    for (route, name, body) in corpus() {
        let answer = server.post(route, content_type(&name), &body).await;
        let expected = name.split('-').next().unwrap();
        assert_eq!(
            answer.status.as_str(),
            expected,
            "{route} {name}: {}",
            String::from_utf8_lossy(&answer.body)
        );
        if name.contains("partial") {
            assert!(!matches!(&answer.body[..], b"" | b"{}"), "{name}: every record was stored");
        }
        for other in ROUTES {
            let status = server.post(other, content_type(&name), &body).await.status;
            assert!(is_expected(status), "{other} {name}: {status}");
        }
    }
    still_serves(&server).await;
}

/// Pseudorandom numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        // Marsaglia's xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

/// Changes one to four bytes or ranges of bytes.
fn mutated(body: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = body.to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len());
        match numbers.below(5) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][numbers.below(5)],
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, 0xff),
            _ => {
                let end = (at + numbers.below(16)).min(bytes.len());
                bytes.extend_from_within(at..end);
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[tokio::test]
async fn malformed_messages_never_cause_a_server_error() {
    const MUTATIONS: usize = 250;
    let server = Server::new();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut rejected = 0;
    let small = |body: &[u8]| !body.is_empty() && body.len() < 8_192;
    for (route, name, body) in corpus().into_iter().filter(|(_, _, body)| small(body)) {
        let truncated = (0..body.len()).step_by(body.len().div_ceil(128)).map(|end| body[..end].to_vec());
        let mutated: Vec<Vec<u8>> = (0..MUTATIONS).map(|_| mutated(&body, &mut numbers)).collect();
        for bytes in truncated.chain(mutated) {
            let answer = server.post(route, content_type(&name), &bytes).await;
            assert!(is_expected(answer.status), "{route} {name}: {} for {bytes:?}", answer.status);
            rejected += usize::from(answer.status.is_client_error());
        }
    }
    assert!(rejected > 1_000, "only {rejected} were rejected");
    still_serves(&server).await;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn decompression_bombs_are_answered_413() {
    let server = Server::new();
    let zeros = vec![b' '; 32 << 20];
    let bombs = [("gzip", gzip(&zeros)), ("zstd", zstd::encode_all(&zeros[..], 3).unwrap())];
    for (compression, bomb) in &bombs {
        for content_type in [PROTOBUF, JSON] {
            let headers = [("content-type", content_type), ("content-encoding", *compression)];
            let answer = server.send("/v1/traces", &headers, bomb).await;
            assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{compression} {content_type}");
            let half = server.send("/v1/traces", &headers, &bomb[..bomb.len() / 2]).await;
            assert!(half.status.is_client_error(), "{compression} {content_type}: {}", half.status);
        }
    }
    let too_large = server.post("/v1/traces", JSON, &zeros).await;
    assert_eq!(too_large.status, StatusCode::PAYLOAD_TOO_LARGE, "uncompressed");
    still_serves(&server).await;
}

#[tokio::test]
async fn a_compressed_request_is_stored_like_an_uncompressed_one() {
    let server = Server::new();
    let span = json!({"traceId": "1".repeat(32), "spanId": "2".repeat(16), "startTimeUnixNano": "1", "endTimeUnixNano": "2"});
    let body = spans(&json!([span])).to_string();
    let zstd = zstd::encode_all(body.as_bytes(), 3).unwrap();
    for (compression, bytes) in [("gzip", gzip(body.as_bytes())), ("zstd", zstd)] {
        let headers = [("content-type", JSON), ("content-encoding", compression)];
        let answer = server.send("/v1/traces", &headers, &bytes).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({})), "{compression}");
        let truncated = server.send("/v1/traces", &headers, &bytes[..bytes.len() - 3]).await;
        assert_eq!(truncated.status, StatusCode::BAD_REQUEST, "{compression}");
    }
}

#[tokio::test]
async fn unknown_content_types_are_answered_415() {
    let server = Server::new();
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/grpc", "é"] {
        let answer = server.post("/v1/logs", content_type, b"{}").await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
    }
    let headers = [("content-type", JSON), ("content-encoding", "br")];
    let answer = server.send("/v1/logs", &headers, b"{}").await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(
        server.send("/v1/logs", &[], b"{}").await.status,
        StatusCode::OK,
        "no content type means JSON"
    );
    assert_eq!(server.get("/v1/logs").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn errors_have_the_encoding_of_the_request() {
    let server = Server::new();
    let answer = server.post("/v1/traces", PROTOBUF, b"\xff").await;
    assert_eq!((answer.status, answer.content_type()), (StatusCode::BAD_REQUEST, PROTOBUF));
    let status = Status::decode(&answer.body[..]).unwrap();
    assert_eq!(status.code, 3, "google.rpc.Code INVALID_ARGUMENT");
    assert!(status.message.starts_with("the body is not OTLP protobuf: "), "{}", status.message);
    let answer = server.post("/v1/traces", JSON, b"{").await;
    assert_eq!((answer.status, answer.content_type()), (StatusCode::BAD_REQUEST, JSON));
    assert!(answer.json()["message"].as_str().unwrap().starts_with("the body is not JSON: "));
}

#[tokio::test]
async fn errors_of_the_layers_around_the_routes_have_the_encoding_of_the_request() {
    let settings = Settings {
        tokens: Tokens::from_options(&Options::from_pairs([("tokens", OptionValue::Text("hush".into()))]))
            .unwrap(),
        limits: Limits { max_body_bytes: 10, ..Limits::default() },
        ..Settings::default()
    };
    let server = Server::over(&MemoryStore::new("the-server"), &settings);
    let length = ("content-length", "11");
    for (headers, status, code) in [(&[][..], 401, 16), (&[length], 413, 8)] {
        let answer = server.send("/v1/traces", &[&[("content-type", PROTOBUF)], headers].concat(), b"").await;
        assert_eq!((answer.status.as_u16(), answer.content_type()), (status, PROTOBUF));
        assert_eq!(Status::decode(&answer.body[..]).unwrap().code, code);
        let answer = server.send("/v1/logs", &[&[("content-type", JSON)], headers].concat(), b"{}").await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (status, &json!(code)));
    }
}

#[tokio::test]
async fn deep_nesting_is_rejected() {
    let server = Server::new();
    for deep in ["[".repeat(100_000), r#"{"a":"#.repeat(100_000)] {
        assert_eq!(server.post("/v1/logs", JSON, deep.as_bytes()).await.status, StatusCode::BAD_REQUEST);
    }
    let mut json = json!({"stringValue": "x"});
    for _ in 0..300 {
        json = json!({"arrayValue": {"values": [json]}});
    }
    let body = logs(&json!([{"body": json}])).to_string();
    assert_eq!(server.post("/v1/logs", JSON, body.as_bytes()).await.status, StatusCode::BAD_REQUEST);
    for (levels, expected) in [(20, StatusCode::OK), (2_000, StatusCode::BAD_REQUEST)] {
        let mut any = AnyValue { value: Some(any_value::Value::IntValue(1)) };
        for _ in 0..levels {
            any = AnyValue { value: Some(any_value::Value::ArrayValue(ArrayValue { values: vec![any] })) };
        }
        let log_records = vec![LogRecord { body: Some(any), ..LogRecord::default() }];
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
        assert_eq!(server.post("/v1/logs", PROTOBUF, &body).await.status, expected, "{levels}");
    }
    // Half a million nested lists, built from the innermost: each level is a tag and a length.
    let mut deepest = Vec::new();
    let lists = [0x0a, 0x2a].repeat(500_000);
    for tag in lists.into_iter().chain([0x2a, 0x12, 0x12, 0x0a]) {
        let mut tag_and_length = vec![tag];
        prost::encode_length_delimiter(deepest.len(), &mut tag_and_length).unwrap();
        deepest.extend(tag_and_length.iter().rev());
    }
    deepest.reverse();
    assert_eq!(server.post("/v1/logs", PROTOBUF, &deepest).await.status, StatusCode::BAD_REQUEST);
    for route in ROUTES {
        assert!(is_expected(server.post(route, PROTOBUF, &deepest).await.status), "{route}");
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn too_many_empty_records_are_answered_413() {
    let server = Server::new();
    // resource_spans { scope_spans { spans {} spans {} … } }, four million times.
    let mut body = [0x12, 0].repeat(4 << 20);
    for tag in [0x12, 0x0a] {
        let mut outer = vec![tag];
        prost::encode_length_delimiter(body.len(), &mut outer).unwrap();
        outer.append(&mut body);
        body = outer;
    }
    assert_eq!(server.post("/v1/traces", PROTOBUF, &body).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let json = format!("{{\"resourceLogs\":[{}{{}}]}}", "{},".repeat(4 << 20));
    assert_eq!(server.post("/v1/logs", JSON, json.as_bytes()).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    still_serves(&server).await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_rejected() {
    let server = Server::new();
    let body = b"{\"resourceLogs\": [{\"scopeLogs\": [{\"logRecords\": [{\"body\": {\"stringValue\": \"\xff\"}}]}]}]}";
    assert_eq!(server.post("/v1/logs", JSON, body).await.status, StatusCode::BAD_REQUEST);
    // resource_logs { schema_url: "\xff" }
    assert_eq!(
        server.post("/v1/logs", PROTOBUF, b"\x0a\x03\x1a\x01\xff").await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn an_error_names_the_route_for_a_request_of_another_signal() {
    let server = Server::new();
    let bodies = [spans(&json!([])), metrics(&json!([])), logs(&json!([]))];
    for (body, belongs) in bodies.iter().zip(ROUTES) {
        for route in ROUTES {
            let answer = server.post(route, JSON, body.to_string().as_bytes()).await;
            if route == belongs {
                assert_eq!(answer.status, StatusCode::OK);
            } else {
                let message = answer.json()["message"].as_str().unwrap().to_owned();
                assert_eq!(answer.status, StatusCode::BAD_REQUEST);
                assert!(message.ends_with(&format!("post it to {belongs}")), "{message}");
            }
        }
    }
    // In protobuf the wire types differ.
    let (_, _, log) = corpus().into_iter().find(|(_, name, _)| name == "200-everything.logs.pb").unwrap();
    assert_eq!(server.post("/v1/traces", PROTOBUF, &log).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn nan_and_infinities_are_text_or_invalid_json() {
    let server = Server::new();
    let log = |value: &str| {
        format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"1","attributes":
            [{{"key":"x","value":{{"doubleValue":{value}}}}}]}}]}}]}}]}}"#
        )
    };
    for text in ["\"NaN\"", "\"Infinity\"", "\"-Infinity\"", "\"nan\"", "\"1e999\""] {
        assert_eq!(
            server.post("/v1/logs", JSON, log(text).as_bytes()).await.status,
            StatusCode::OK,
            "{text}"
        );
        let found = server.query("/logs", &json!({"limit": 1})).await;
        assert_eq!(found["data"][0]["attributes"]["x"].to_string(), text);
    }
    for number in ["NaN", "Infinity", "-Infinity", "nan", "1e999", "-1e999"] {
        let answer = server.post("/v1/logs", JSON, log(number).as_bytes()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{number}");
    }
}

#[tokio::test]
async fn a_repeated_key_does_no_harm() {
    let server = Server::new();
    let body = r#"{"resourceLogs":[],"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1","timeUnixNano":"2",
        "body":{"stringValue":"twice"},"attributes":[{"key":"k","value":{"intValue":1}},{"key":"k","value":{"intValue":2}}]}]}]}]}"#;
    assert_eq!(server.post("/v1/logs", JSON, body.as_bytes()).await.status, StatusCode::OK);
    let found = server.query("/logs", &json!({})).await;
    assert_eq!(found["data"][0]["attributes"], json!({"k": 1}));
}
