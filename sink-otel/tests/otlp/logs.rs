//! Logs arrive with all their fields.

use std::sync::Arc;

use opentelemetry_proto::tonic::logs::v1::LogRecord as OtlpLog;
use sink_otel::LOG;
use telemetry_core::{EventContext, LogBody, LogRecord, Severity, Signal, attrs};
use telemetry_testkit::signals;

use crate::support::{Receiver, build, service, shown};

fn received(receiver: &Receiver) -> Vec<OtlpLog> {
    let resources = receiver.logs().into_iter().flat_map(|request| request.resource_logs);
    resources.flat_map(|resource| resource.scope_logs).flat_map(|scope| scope.log_records).collect()
}

#[tokio::test]
async fn every_field_arrives() {
    let receiver = Receiver::start();
    let mut sink = build(&LOG, &receiver.url(), &[]).await;
    let record = LogRecord {
        body: LogBody::Message { severity: Severity::Error, message: "lost ✗".into() },
        attributes: attrs! { "s" => "x", "i" => 7, "f" => 7.0, "b" => false },
        arrived: signals::at(9),
        ..signals::log_record(EventContext::Span(signals::key(3, 4)), 5, "")
    };
    sink.write(vec![Signal::Log(Arc::new(record))]).await.unwrap();

    assert_eq!(receiver.requests()[0].path, "/v1/logs");
    let log = received(&receiver).remove(0);
    let nanos = |milliseconds| u64::try_from(signals::at(milliseconds).as_nanos()).unwrap();
    assert_eq!((log.time_unix_nano, log.observed_time_unix_nano), (nanos(5), nanos(9)));
    assert_eq!(log.trace_id, 3_u128.to_be_bytes());
    assert_eq!(log.span_id, 4_u64.to_be_bytes());
    assert_eq!((log.severity_number, log.severity_text.as_str()), (17, "error"));
    assert!(format!("{:?}", log.body).contains("lost ✗"));
    assert_eq!(shown(&log.attributes), ["s=text:x", "i=int:7", "f=double:7.0", "b=bool:false"]);
}

#[tokio::test]
async fn severities_have_opentelemetrys_numbers() {
    let receiver = Receiver::start();
    let mut sink = build(&LOG, &receiver.url(), &[]).await;
    let all = [
        Severity::Verbose,
        Severity::Debug,
        Severity::Info,
        Severity::Warn,
        Severity::Error,
        Severity::Critical,
    ];
    let log = |severity| {
        let body = LogBody::Message { severity, message: "m".into() };
        Signal::Log(Arc::new(LogRecord { body, ..signals::log_record(EventContext::None, 0, "") }))
    };
    sink.write(all.map(log).into()).await.unwrap();
    let numbers: Vec<_> = received(&receiver).iter().map(|log| log.severity_number).collect();
    assert_eq!(numbers, [1, 5, 9, 13, 17, 21]);
}

#[tokio::test]
async fn span_events_are_not_sent_as_logs() {
    let receiver = Receiver::start();
    let mut sink = build(&LOG, &receiver.url(), &[]).await;
    let context = EventContext::Span(signals::key(1, 1));
    let event = LogRecord {
        body: LogBody::SpanEvent { name: "exception".into() },
        ..signals::log_record(context, 0, "")
    };
    let event = Signal::Log(Arc::new(event));
    sink.write(vec![event.clone()]).await.unwrap();
    assert!(receiver.requests().is_empty());
    sink.write(vec![event, signals::log(EventContext::None, 0, "a log")]).await.unwrap();
    assert_eq!(received(&receiver).len(), 1);
}

#[tokio::test]
async fn a_log_outside_a_span_has_no_span_id() {
    let receiver = Receiver::start();
    let mut sink = build(&LOG, &receiver.url(), &[]).await;
    let foreign = LogRecord {
        service_name: Some("other".into()),
        ..signals::log_record(EventContext::Trace(signals::trace_id(5)), 0, "of a trace")
    };
    sink.write(vec![signals::log(EventContext::None, 0, "free"), Signal::Log(Arc::new(foreign))])
        .await
        .unwrap();
    let logs = received(&receiver);
    assert!(logs[0].trace_id.is_empty() && logs[0].span_id.is_empty());
    assert_eq!(logs[1].trace_id, 5_u128.to_be_bytes());
    assert!(logs[1].span_id.iter().all(|&byte| byte == 0));
    assert_eq!(service(receiver.logs()[1].resource_logs[0].resource.as_ref()), "service.name=text:other");
}
