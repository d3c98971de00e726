//! Spans received by OTLP: requests of 512 spans, each answered after its commit.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use serde_json::json;
use telemetry_tests::{Client, Settings};

use crate::figures::line;
use crate::http::resident;
use crate::phoenix::Phoenix;

const SPANS_PER_REQUEST: u64 = 512;
const SPANS_PER_TRACE: u64 = 8;
const CONNECTIONS: usize = 4;
/// Spans for Phoenix, which would take minutes for all of them.
const SPANS_FOR_PHOENIX: u64 = 10_240;
const PAUSE: Duration = Duration::from_millis(20);
const START: u64 = 1_770_000_000_000_000_000;

fn text(key: &str, value: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value)) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

fn integer(key: &str, value: u64) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::IntValue(value.cast_signed())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

/// Returns span `number`, with five attributes and one event.
fn span(number: u64) -> Span {
    let (trace, place) = (number / SPANS_PER_TRACE + 1, number % SPANS_PER_TRACE);
    let start = START + number * 1_000;
    Span {
        trace_id: u128::from(trace).to_be_bytes().into(),
        span_id: (number + 1).to_be_bytes().into(),
        parent_span_id: if place == 0 { Vec::new() } else { (number - place + 1).to_be_bytes().into() },
        name: "chat llama-3.2-3b".into(),
        kind: 3,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_500_000,
        attributes: vec![
            text("gen_ai.operation.name", "chat".into()),
            text("gen_ai.request.model", "llama-3.2-3b".into()),
            integer("gen_ai.usage.input_tokens", number % 4_096),
            text("session.id", format!("session-{trace}")),
            text("request.id", format!("{number:032x}")),
        ],
        events: vec![Event {
            time_unix_nano: start + 500_000,
            name: "first token".into(),
            attributes: vec![integer("index", 0)],
            ..Event::default()
        }],
        status: Some(Status { code: 1, ..Status::default() }),
        ..Span::default()
    }
}

/// Returns request `number`.
fn request(number: u64) -> Vec<u8> {
    let first = number * SPANS_PER_REQUEST;
    let spans = (first..first + SPANS_PER_REQUEST).map(span).collect();
    let scope = Some(InstrumentationScope { name: "bench".into(), ..InstrumentationScope::default() });
    let attributes = vec![text("service.name", "llama-stack".into()), text("host.name", "gpu-1".into())];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scope_spans = vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// Sends all requests. Returns spans per second and the latencies of the requests.
///
/// `stored` receives the number of spans sent. It returns how many are stored, and when the last one was.
fn send_all(
    url: &str,
    requests: &[Vec<u8>],
    stored: impl FnOnce(u64) -> Result<(u64, Instant)>,
) -> Result<(f64, Histogram<u64>)> {
    let latencies = Mutex::new(Histogram::new(3)?);
    let left = Mutex::new(requests.iter());
    let post = || -> Result<()> {
        let mut client = Client::connect(url)?;
        let mut mine = Histogram::<u64>::new(3)?;
        let next = || left.lock().ok().and_then(|mut left| left.next());
        while let Some(body) = next() {
            let started = Instant::now();
            let headers = [("content-type", "application/x-protobuf")];
            let answer = loop {
                let answer = client.request("POST", "/v1/traces", &headers, body)?;
                // A receiver that is full wants the request again later.
                if answer.status != 503 {
                    break answer;
                }
                std::thread::park_timeout(PAUSE);
            };
            ensure!(answer.status == 200 && answer.body.is_empty(), "{}: {}", answer.status, answer.text());
            mine.record(u64::try_from(started.elapsed().as_micros())?)?;
        }
        latencies.lock().map_err(|_| anyhow::anyhow!("a connection panicked"))?.add(mine)?;
        Ok(())
    };
    let started = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let running: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(post)).collect();
        for thread in running {
            thread.join().map_err(|_| anyhow::anyhow!("a connection panicked"))??;
        }
        Ok(())
    })?;
    let (spans, ended) = stored(requests.len() as u64 * SPANS_PER_REQUEST)?;
    Ok((
        spans as f64 / ended.duration_since(started).as_secs_f64(),
        latencies.into_inner().context("a connection panicked")?,
    ))
}

pub(crate) fn run(program: PathBuf, spans: u64, peer: Option<&str>, phoenix: bool) -> Result<()> {
    let requests: Vec<Vec<u8>> = (0..spans.div_ceil(SPANS_PER_REQUEST)).map(request).collect();
    let folder = tempfile::tempdir()?;
    let server = Settings::sqlite_in(folder.path()).program(program).start()?;
    let (rate, latencies) = send_all(server.url(), &requests, |spans| Ok((spans, Instant::now())))?;
    line("OTLP in, 512 spans a request, acknowledged durable", rate, "spans/s", "promise", 40_000.0);
    line(
        "  latency, p50",
        latencies.value_at_quantile(0.5) as f64 / 1e3,
        "ms",
        "of p99",
        latencies.value_at_quantile(0.99) as f64 / 1e3,
    );
    line("memory, after the load", resident(server.id())?, "MB", "limit", 200.0);
    if let Some(peer) = peer {
        let (of_peer, _) = send_all(peer, &requests, |spans| Ok((spans, Instant::now())))?;
        line("the same, beside the peer", rate, "spans/s", "peer", of_peer);
    }
    if phoenix {
        let phoenix = Phoenix::start()?;
        let some = &requests[..requests.len().min(usize::try_from(SPANS_FOR_PHOENIX / SPANS_PER_REQUEST)?)];
        let (of_phoenix, _) = send_all(phoenix.url(), some, |spans| phoenix.wait_for(spans))?;
        line("the same, beside Arize Phoenix", rate, "spans/s", "Phoenix, stored", of_phoenix);
    }
    // Checks that the last acknowledged span is found by an attribute that only it has.
    let last = requests.len() as u64 * SPANS_PER_REQUEST - 1;
    let filter =
        json!({"attribute_filters": [{"key": "request.id", "op": "eq", "value": format!("{last:032x}")}]});
    let found = Client::connect(server.url())?.post("/v1/telemetry/traces", &filter)?.json();
    let trace = &found["data"][0]["trace_id"];
    ensure!(*trace == format!("{:032x}", last / SPANS_PER_TRACE + 1), "the last span is not found: {found}");
    let ended = server.stop()?;
    ensure!(ended.status.success(), "{ended:?}");
    Ok(())
}
