//! What the sinks do with each answer of a collector.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use sink_otel::{LOG, METRIC, TRACE};
use telemetry_core::{Action, EventContext, OptionValue, Signal, SinkError, Written};
use telemetry_testkit::{DEADLINE, Driver, signals};

use crate::support::{Receiver, Reply, build, text, try_build};

fn spans(count: u64) -> Vec<Signal> {
    (1..=count).map(|id| signals::ended(signals::span(1, id, 0, 1))).collect()
}

async fn answered(reply: Reply) -> (Receiver, Driver, SinkError) {
    let receiver = Receiver::start();
    let headers = [("headers", text("authorization=Bearer%20hush-hush"))];
    let mut sink = build(&TRACE, &receiver.url(), &headers).await;
    receiver.reply([reply]);
    let error = sink.write(spans(2)).await.unwrap_err();
    (receiver, sink, error)
}

#[tokio::test]
async fn a_400_is_final_and_its_message_is_reported() {
    let json = ("content-type", "application/json".to_owned());
    let body = br#"{"code":3,"message":"bad span name; token hush-hush"}"#.to_vec();
    let (receiver, mut sink, error) = answered(Reply::With(400, vec![json], body)).await;
    assert_eq!(error.action(), Action::Reject);
    let endpoint = format!("{}/v1/traces", receiver.url());
    assert_eq!(
        error.to_string(),
        format!(
            "the collector rejects the request (endpoint: {endpoint}, status: 400, message: bad span name; token ***)"
        )
    );
    assert_eq!(sink.write(spans(1)).await.unwrap(), Written::ALL);
}

#[tokio::test]
async fn temporary_errors_are_retried_by_the_worker_alone() {
    for (status, header, after) in [
        (429, Some("7"), Some(Duration::from_secs(7))),
        (503, Some("3600"), Some(Duration::from_secs(30))),
        (503, None, None),
        (502, None, None),
        (504, None, None),
    ] {
        let headers = header.map(|value| ("retry-after", value.to_owned())).into_iter().collect();
        let (receiver, mut sink, error) = answered(Reply::With(status, headers, Vec::new())).await;
        assert_eq!(error.action(), Action::Retry { after }, "{status}");
        assert_eq!(receiver.requests().len(), 1, "the exporter's own retry is off");
        assert_eq!(sink.write_again().await.unwrap(), Written::ALL);
        assert_eq!(receiver.spans().len(), 4);
    }
}

#[tokio::test]
async fn other_error_statuses_are_final() {
    for (status, hint) in [
        (401, "credentials"),
        (403, "credentials"),
        (404, "is this the address of a collector?"),
        (301, "redirects are not followed"),
        (500, "rejects"),
    ] {
        let (_receiver, _sink, error) = answered(Reply::status(status)).await;
        assert_eq!(error.action(), Action::Reject, "{status}");
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_otlp_is_rejected() {
    let of_type = |content_type: &str| vec![("content-type", content_type.to_owned())];
    for headers in [of_type("application/x-protobuf"), of_type("text/html; charset=utf-8"), Vec::new()] {
        let (_receiver, _sink, error) = answered(Reply::With(200, headers, b"<html>\xff".to_vec())).await;
        assert_eq!(error.action(), Action::Reject);
        assert!(error.to_string().starts_with("the answer is not OTLP"), "{error}");
    }
}

#[tokio::test]
async fn a_partial_success_is_counted_with_its_message() {
    let receiver = Receiver::start();
    let mut sink = build(&TRACE, &receiver.url(), &[("request_size", OptionValue::Integer(2))]).await;
    let partial = |rejected| {
        let partial =
            ExportTracePartialSuccess { rejected_spans: rejected, error_message: "too long".into() };
        Reply::protobuf(&ExportTraceServiceResponse { partial_success: Some(partial) })
    };
    receiver.reply([partial(1), partial(2)]);
    let written = sink.write(spans(4)).await.unwrap();
    assert_eq!(written, Written::partly(3, "partly rejected by the collector: too long"));
}

#[tokio::test]
async fn a_retry_sends_only_what_is_not_yet_accepted() {
    let receiver = Receiver::start();
    let mut sink = build(&TRACE, &receiver.url(), &[("request_size", OptionValue::Integer(2))]).await;
    receiver.reply([Reply::status(200), Reply::status(503)]);
    let error = sink.write(spans(5)).await.unwrap_err();
    assert_eq!(error.stored_signals(), 2);
    assert_eq!(sink.write_again().await.unwrap(), Written::ALL);
    let ids: Vec<_> = receiver.spans().iter().map(|span| span.span_id[7]).collect();
    // The request that was answered with 503 contained 3 and 4.
    assert_eq!(ids, [1, 2, 3, 4, 3, 4, 5]);
}

#[tokio::test]
async fn one_rejected_request_does_not_affect_its_neighbours() {
    let receiver = Receiver::start();
    let mut sink = build(&TRACE, &receiver.url(), &[("request_size", OptionValue::Integer(2))]).await;
    receiver.reply([Reply::status(400)]);
    let written = sink.write(spans(6)).await.unwrap();
    assert_eq!(written.rejected, 2);
    assert!(written.reason.unwrap().contains("status: 400"));
    assert_eq!(receiver.requests().len(), 3);
}

#[tokio::test]
async fn a_request_too_large_for_the_collector_is_halved() {
    let receiver = Receiver::start();
    let mut sink = build(&TRACE, &receiver.url(), &[]).await;
    receiver.reply([Reply::status(413)]);
    assert_eq!(sink.write(spans(4)).await.unwrap(), Written::ALL);
    let sizes: Vec<_> = receiver
        .traces()
        .iter()
        .map(|request| request.resource_spans[0].scope_spans[0].spans.len())
        .collect();
    assert_eq!(sizes, [4, 2, 2]);
}

#[tokio::test]
async fn a_time_out_is_retried() {
    let receiver = Receiver::start();
    receiver.reply([Reply::Never]);
    let mut sink = build(&TRACE, &receiver.url(), &[("timeout", text("100ms"))]).await;
    let error = sink.write(spans(1)).await.unwrap_err();
    assert_eq!(error.action(), Action::Retry { after: None });
    assert!(error.to_string().starts_with("the collector does not answer in time"), "{error}");
    assert_eq!(sink.write_again().await.unwrap(), Written::ALL);
}

#[tokio::test]
async fn a_collector_that_is_not_running_is_retried() {
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    for entry in [&TRACE, &METRIC, &LOG] {
        let url = format!("http://me:hush@{address}");
        let mut sink = build(entry, &url, &[]).await;
        let error = match sink
            .write(vec![
                signals::ended(signals::span(1, 1, 0, 1)),
                signals::log(EventContext::None, 0, "a log"),
                signals::metric("hits", 1, 0, telemetry_core::attrs! {}),
            ])
            .await
        {
            Err(error) => error,
            // The metric sink exports at a flush.
            Ok(_) => sink.flush().await.unwrap_err(),
        };
        assert_eq!(error.action(), Action::Retry { after: None });
        assert!(error.to_string().starts_with("can't reach the collector (endpoint: http://127.0.0.1:"));
        assert!(!error.full_text().contains("hush"), "{}", error.full_text());
    }
    let receiver = Receiver::listen(std::net::TcpListener::bind(address).unwrap());
    let mut sink = build(&TRACE, &receiver.url(), &[]).await;
    assert_eq!(sink.write(spans(1)).await.unwrap(), Written::ALL);
}

#[tokio::test]
async fn the_sink_is_usable_after_a_cancelled_write() {
    let receiver = Receiver::start();
    receiver.reply([Reply::Never]);
    let mut sink = build(&TRACE, &receiver.url(), &[]).await;
    tokio::select! {
        _ = sink.write(spans(1)) => panic!("the receiver does not answer"),
        () = receiver.wait_for(1) => {}
    }
    assert_eq!(sink.write_again().await.unwrap(), Written::ALL);
    assert_eq!(receiver.spans().len(), 2);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_collector_that_hangs() {
    let receiver = Receiver::start();
    receiver.reply([Reply::Never, Reply::Never]);
    let mut sink = build(&METRIC, &receiver.url(), &[("timeout", text("100ms"))]).await;
    sink.write(vec![signals::metric("hits", 1, 0, telemetry_core::attrs! {})]).await.unwrap();
    let error = tokio::time::timeout(DEADLINE, sink.shutdown()).await.unwrap().unwrap_err();
    assert_eq!(error.revoked_signals(), 1);
}

#[tokio::test]
async fn invalid_options_fail_the_build() {
    for (key, value, expected) in [
        ("endpoint", "collector:4317", "expected a URL like"),
        ("protocol", "grpc", "set `http/protobuf`"),
        ("compression", "brotli", "`brotli`"),
        ("timeout", "soon", "expected a"),
    ] {
        let error = try_build(&TRACE, &[(key, text(value))]).await.unwrap_err();
        assert_eq!(error.action(), Action::Close);
        assert!(error.full_text().contains(expected), "{}", error.full_text());
    }
    let missing = [("endpoint", text("https://c")), ("ca_certificate", text("/no/such.pem"))];
    let error = try_build(&TRACE, &missing).await.unwrap_err();
    assert!(error.to_string().contains("/no/such.pem"), "{error}");
}
