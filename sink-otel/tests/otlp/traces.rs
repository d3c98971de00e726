//! Spans arrive with all their fields.

use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{Span as OtlpSpan, Status};
use sink_otel::TRACE;
use telemetry_core::{
    Attributes, EventContext, LogBody, LogRecord, OptionValue, Severity, Span, SpanEvent, SpanKind,
    SpanState, SpanStatus, Timestamp, attrs,
};
use telemetry_testkit::signals;

use crate::support::{Receiver, build, service, shown, text};

fn rich_span() -> Span {
    let context = EventContext::Span(signals::key(7, 0xff00_0000_0000_0001));
    let log = LogRecord {
        body: LogBody::Message { severity: Severity::Warn, message: "slow".into() },
        attributes: attrs! { "at" => "disk", "message" => "hidden by the real one" },
        ..signals::log_record(context, 1, "")
    };
    let span_event = LogRecord {
        body: LogBody::SpanEvent { name: "exception".into() },
        attributes: attrs! { "exception.type" => "IoError" },
        ..signals::log_record(context, 2, "")
    };
    let metric = signals::metric_point("tokens", 3, 3, attrs! { "model_id" => "m" });
    Span {
        span_id: signals::span_id(0xff00_0000_0000_0001),
        parent_span_id: Some(signals::span_id(0xab)),
        name: "chat ✓".into(),
        kind: SpanKind::Client,
        start_time: Timestamp::from_nanos(1_700_000_000_123_456_789),
        end_time: Some(Timestamp::from_nanos(1_700_000_001_000_000_001)),
        status: Some(SpanStatus::Error),
        attributes: attrs! {
            "s" => "text", "i" => i64::MAX, "f" => 7.0, "b" => true, "n" => telemetry_core::Value::Null,
            "otel.status_description" => "out of tokens",
        },
        events: vec![
            SpanEvent::Log(Arc::new(log)),
            SpanEvent::Log(Arc::new(span_event)),
            SpanEvent::Metric(Arc::new(metric)),
        ],
        trace_state: Some("vendor=a,other=b".into()),
        local_root: true,
        dropped_attributes_count: 2,
        dropped_events_count: 3,
        ..signals::span(7, 1, 0, 10)
    }
}

#[tokio::test]
async fn every_field_arrives() {
    let receiver = Receiver::start();
    let mut sink = build(&TRACE, &receiver.url(), &[]).await;
    sink.write(vec![signals::ended(rich_span())]).await.unwrap();

    let request = &receiver.requests()[0];
    assert_eq!(request.path, "/v1/traces");
    assert_eq!(request.headers["content-type"], "application/x-protobuf");
    let span = &receiver.spans()[0];
    let event_names: Vec<_> = span.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(event_names, ["unstructured_log", "exception", "metric.tokens"]);
    let nanos = |milliseconds| u64::try_from(signals::at(milliseconds).as_nanos()).unwrap();
    let event_times: Vec<_> = span.events.iter().map(|event| event.time_unix_nano).collect();
    assert_eq!(event_times, [nanos(1), nanos(2), nanos(3)]);
    let attributes = |event: &Event| shown(&event.attributes);
    assert_eq!(attributes(&span.events[0]), ["message=text:slow", "severity=text:warn", "at=text:disk"]);
    assert_eq!(attributes(&span.events[1]), ["exception.type=text:IoError"]);
    assert_eq!(attributes(&span.events[2]), ["value=int:3", "unit=text:1", "model_id=text:m"]);
    assert_eq!(
        shown(&span.attributes),
        ["s=text:text", "i=int:9223372036854775807", "f=double:7.0", "b=bool:true", "n=text:"]
    );
    let rest = OtlpSpan { events: Vec::new(), attributes: Vec::new(), ..span.clone() };
    let expected = OtlpSpan {
        trace_id: 7_u128.to_be_bytes().to_vec(),
        span_id: 0xff00_0000_0000_0001_u64.to_be_bytes().to_vec(),
        parent_span_id: 0xab_u64.to_be_bytes().to_vec(),
        trace_state: "vendor=a,other=b".into(),
        // Sampled, and the parent is known to be remote.
        flags: 0x301,
        name: "chat ✓".into(),
        kind: 3,
        start_time_unix_nano: 1_700_000_000_123_456_789,
        end_time_unix_nano: 1_700_000_001_000_000_001,
        dropped_attributes_count: 2,
        dropped_events_count: 3,
        status: Some(Status { code: 2, message: "out of tokens".into() }),
        ..OtlpSpan::default()
    };
    assert_eq!(rest, expected);
}

#[tokio::test]
async fn the_resource_is_this_process_or_the_spans_service() {
    let receiver = Receiver::start();
    let mut sink = build(&TRACE, &receiver.url(), &[]).await;
    let other = Span { service_name: Some("other".into()), ..signals::span(1, 2, 0, 1) };
    let spans = [signals::span(1, 1, 0, 1), other, signals::span(1, 3, 0, 1)];
    sink.write(spans.map(signals::ended).into()).await.unwrap();
    let services: Vec<_> = receiver
        .traces()
        .iter()
        .map(|request| service(request.resource_spans[0].resource.as_ref()))
        .collect();
    assert_eq!(services, ["service.name=text:test", "service.name=text:other", "service.name=text:test"]);
    let own = receiver.traces()[0].resource_spans[0].resource.clone().unwrap();
    let language = "telemetry.sdk.language=text:rust".to_owned();
    assert!(shown(&own.attributes).contains(&language));
}

#[tokio::test]
async fn scope_attributes_become_the_scope() {
    let receiver = Receiver::start();
    let mut sink = build(&TRACE, &receiver.url(), &[]).await;
    let attributes = attrs! { "otel.scope.name" => "lib", "otel.scope.version" => "1.2", "k" => 1 };
    let span = Span { attributes, ..signals::span(1, 1, 0, 1) };
    sink.write(vec![signals::ended(span), signals::ended(signals::span(1, 2, 0, 1))]).await.unwrap();
    let request = receiver.traces().remove(0);
    let mut scopes: Vec<_> = request.resource_spans[0]
        .scope_spans
        .iter()
        .map(|scope| (scope.scope.as_ref().unwrap().name.clone(), shown(&scope.spans[0].attributes)))
        .collect();
    scopes.sort();
    let none = Vec::new();
    assert_eq!(scopes, [("lib".to_owned(), vec!["k=int:1".to_owned()]), ("telemetry".to_owned(), none)]);
}

#[tokio::test]
async fn an_unfinished_span_ends_at_its_last_known_time() {
    let receiver = Receiver::start();
    let mut sink = build(&TRACE, &receiver.url(), &[]).await;
    let log = signals::log_record(EventContext::Span(signals::key(1, 1)), 250, "alive");
    let span = Span {
        state: SpanState::Unfinished,
        events: vec![SpanEvent::Log(Arc::new(log))],
        ..signals::open_span(1, 1, 100)
    };
    sink.write(vec![signals::ended(span)]).await.unwrap();
    let span = receiver.spans().remove(0);
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 150_000_000);
    assert_eq!(shown(&span.attributes), ["telemetry.unfinished=bool:true"]);
    assert_eq!(span.status.unwrap().code, 0);
}

#[tokio::test]
async fn a_malformed_tracestate_is_sent_as_an_attribute() {
    let receiver = Receiver::start();
    let mut sink = build(&TRACE, &receiver.url(), &[]).await;
    let span = Span { trace_state: Some("nonsense".into()), ..signals::span(1, 1, 0, 1) };
    sink.write(vec![signals::ended(span)]).await.unwrap();
    let span = receiver.spans().remove(0);
    assert_eq!(
        (span.trace_state.as_str(), shown(&span.attributes)),
        ("", vec!["tracestate=text:nonsense".to_owned()])
    );
}

#[tokio::test]
async fn a_time_before_1970_arrives_as_1970() {
    let receiver = Receiver::start();
    let mut sink = build(&TRACE, &receiver.url(), &[]).await;
    let span = Span { start_time: Timestamp::from_nanos(i64::MIN), ..signals::span(1, 1, 0, 1) };
    sink.write(vec![signals::ended(span)]).await.unwrap();
    assert_eq!(receiver.spans()[0].start_time_unix_nano, 0);
}

#[tokio::test]
async fn requests_are_limited_by_count_and_bytes() {
    let receiver = Receiver::start();
    let limits = [("request_size", OptionValue::Integer(10)), ("request_bytes", text("6KiB"))];
    let mut sink = build(&TRACE, &receiver.url(), &limits).await;
    let mut spans: Vec<_> = (1..=25).map(|id| signals::span(1, id, 0, 1)).collect();
    let large: Attributes = attrs! { "large" => "x".repeat(3_000) };
    spans.extend((26..=28).map(|id| Span { attributes: large.clone(), ..signals::span(1, id, 0, 1) }));
    sink.write(spans.into_iter().map(signals::ended).collect()).await.unwrap();
    let sizes: Vec<_> = receiver
        .traces()
        .iter()
        .map(|request| request.resource_spans[0].scope_spans[0].spans.len())
        .collect();
    assert_eq!(sizes, [10, 10, 6, 1, 1]);
    let ids: Vec<_> = receiver.spans().iter().map(|span| span.span_id[7]).collect();
    assert_eq!(ids, (1..=28).collect::<Vec<u8>>());
}

#[tokio::test]
async fn bodies_are_compressed_as_configured() {
    for encoding in ["gzip", "zstd"] {
        let receiver = Receiver::start();
        let mut sink = build(&TRACE, &receiver.url(), &[("compression", text(encoding))]).await;
        sink.write(vec![signals::ended(signals::span(1, 1, 0, 1))]).await.unwrap();
        assert_eq!(receiver.requests()[0].headers["content-encoding"], encoding);
        assert_eq!(receiver.spans().len(), 1);
    }
}

#[tokio::test]
async fn every_request_has_the_configured_headers() {
    let receiver = Receiver::start();
    let headers = [("headers", text("authorization=Bearer%20hush,user-agent=me"))];
    let mut sink = build(&TRACE, &receiver.url(), &headers).await;
    sink.write(vec![signals::ended(signals::span(1, 1, 0, 1))]).await.unwrap();
    let headers = &receiver.requests()[0].headers;
    assert_eq!(
        (&headers["authorization"], &headers["user-agent"]),
        (&"Bearer hush".parse().unwrap(), &"me".parse().unwrap())
    );
}
