//! Spans sent by OTLP through the pipeline and `otel_trace`, beside OpenTelemetry's exporter alone.
//!
//! Both send to the same receiver, which reads requests and discards them. A span has five attributes and one log.
//! Rates are per second of processor time of the sending threads, which is per core.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use opentelemetry::trace::{Event, SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, SpanId, TraceId};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use telemetry_core::{OptionValue, Options, RunId, Severity, SinkContext, attrs};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec, Telemetry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const SPANS: u64 = 1_000_000;
/// Spans per request of the exporter. The sink's default is the same.
const REQUEST: u64 = 2_048;
/// The most spans in progress, so that none is dropped: in total, and in front of the assembler.
const AHEAD: u64 = 50_000;
const AHEAD_OF_ASSEMBLER: u64 = 2_048;
const DEADLINE: Duration = Duration::from_secs(300);

/// Runs the bench and prints its figures.
pub(crate) fn run() -> anyhow::Result<()> {
    let receiver = Receiver::start()?;
    let alone = exporter_alone(&receiver)?;
    let whole = pipeline(&receiver)?;
    print_line("exporter alone", &alone);
    print_line("pipeline and otel_trace, end to end", &whole);
    println!(
        "end to end at {:.2} of the exporter alone, per core (must reach 250,000 spans/s)",
        whole.per_core() / alone.per_core()
    );
    Ok(())
}

struct Figure {
    wall: Duration,
    processor: Duration,
    bytes: u64,
}

impl Figure {
    fn per_core(&self) -> f64 {
        SPANS as f64 / self.processor.as_secs_f64()
    }
}

fn print_line(what: &str, figure: &Figure) {
    let per_second = SPANS as f64 / figure.wall.as_secs_f64();
    let per_core = figure.per_core();
    let bytes = figure.bytes as f64 / SPANS as f64;
    println!("{what:<40} {per_second:>9.0} spans/s, {per_core:>9.0} per core, {bytes:.0} bytes/span");
}

/// Measures OpenTelemetry's exporter with spans made beforehand.
fn exporter_alone(receiver: &Receiver) -> anyhow::Result<Figure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", receiver.url()))
        .build()?;
    let batch: Vec<SpanData> = (1..=REQUEST).map(span_data).collect();
    let mut figure = Figure { wall: Duration::ZERO, processor: Duration::ZERO, bytes: 0 };
    let bytes = receiver.bytes();
    for _ in 0..SPANS.div_ceil(REQUEST) {
        // The exporter takes the batch. Copying it is not measured.
        let copy = batch.clone();
        let (wall, processor) = (Instant::now(), processor_time()?);
        runtime.block_on(exporter.export(copy))?;
        figure.wall += wall.elapsed();
        figure.processor += processor_time()?.saturating_sub(processor);
    }
    figure.bytes = receiver.bytes() - bytes;
    Ok(figure)
}

fn span_data(number: u64) -> SpanData {
    let now = SystemTime::now();
    let mut events = SpanEvents::default();
    let message = [KeyValue::new("message", "tokens are counted"), KeyValue::new("severity", "info")];
    events.events.push(Event::new("unstructured_log", now, message.to_vec(), 0));
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(u128::from(number)),
            SpanId::from(number),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "chat".into(),
        start_time: now,
        end_time: now,
        attributes: vec![
            KeyValue::new("model_id", "llama-3.2-3b"),
            KeyValue::new("provider_id", "vllm"),
            KeyValue::new("prompt_tokens", i64::try_from(number).unwrap_or(0)),
            KeyValue::new("temperature", 0.7),
            KeyValue::new("stream", true),
        ],
        dropped_attributes_count: 0,
        events,
        links: SpanLinks::default(),
        status: Status::Ok,
        instrumentation_scope: InstrumentationScope::builder("bench").build(),
    }
}

/// Measures span guards on this thread, the assembler, the worker and the sink.
fn pipeline(receiver: &Receiver) -> anyhow::Result<Figure> {
    let options = Options::from_pairs([("endpoint", OptionValue::Text(receiver.url()))]);
    let context = SinkContext { service_name: "bench".into(), options, run: RunId(1) };
    let spec = SinkSpec { entry: &sink_otel::TRACE, context };
    let pipeline = Pipeline::start(vec![spec], PipelineConfig::default())?;
    let telemetry = pipeline.telemetry();
    let bytes = receiver.bytes();
    let (wall, processor) = (Instant::now(), processor_time()?);
    for number in 0..SPANS {
        if number % 1_024 == 0 {
            let assembled = number.saturating_sub(AHEAD_OF_ASSEMBLER);
            wait_until(&telemetry, assembled, number.saturating_sub(AHEAD))?;
        }
        let span = telemetry.span(
            "chat",
            attrs! {
                "model_id" => "llama-3.2-3b", "provider_id" => "vllm", "prompt_tokens" => number,
                "temperature" => 0.7, "stream" => true,
            },
        );
        span.log(Severity::Info, "tokens are counted");
        span.end();
    }
    wait_until(&telemetry, SPANS, SPANS)?;
    let figure = Figure {
        wall: wall.elapsed(),
        processor: processor_time()?.saturating_sub(processor),
        bytes: receiver.bytes() - bytes,
    };
    let sink = telemetry.ledger().sinks.remove(0);
    ensure!(
        sink.delivered == SPANS && sink.failed + sink.dropped == 0,
        "not all spans were delivered: {sink:?}"
    );
    drop(pipeline.shutdown(Duration::from_secs(10)));
    Ok(figure)
}

/// Waits until this many spans are assembled and this many delivered.
fn wait_until(telemetry: &Telemetry, assembled: u64, delivered: u64) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let ledger = telemetry.ledger();
        let sink = ledger.sinks.first().context("one sink")?;
        if sink.accepted >= assembled && sink.delivered >= delivered {
            return Ok(());
        }
        ensure!(started.elapsed() < DEADLINE, "timed out after {DEADLINE:?}: {ledger:?}");
        std::thread::park_timeout(Duration::from_micros(100));
    }
}

/// Returns the processor time of this process without the receiver's thread.
fn processor_time() -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        // The thread may have ended in the meantime.
        let Ok(name) = std::fs::read_to_string(path.join("comm")) else { continue };
        let Ok(times) = std::fs::read_to_string(path.join("schedstat")) else { continue };
        if name.trim() != RECEIVER {
            nanos += times.split_whitespace().next().context("schedstat")?.parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(nanos))
}

const RECEIVER: &str = "receiver";

/// Reads requests, discards them and answers 200.
struct Receiver {
    address: std::net::SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl Receiver {
    fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let bytes = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name(RECEIVER.to_owned()).spawn(move || {
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    tokio::spawn(serve(stream, Arc::clone(&count)));
                }
                #[expect(unreachable_code, reason = "it gives the block its type")]
                std::io::Result::Ok(())
            })
        })?;
        Ok(Self { address, bytes })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, count: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut filled = 0;
    loop {
        let Some(head) = buffer[..filled].windows(4).position(|part| part == b"\r\n\r\n") else {
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Ok(()),
                read => filled += read,
            }
            continue;
        };
        let mut left = content_length(&buffer[..head]).saturating_sub(filled - head - 4);
        count.fetch_add((left + filled) as u64, Ordering::Relaxed);
        while left > 0 {
            let most = left.min(buffer.len());
            match stream.read(&mut buffer[..most]).await? {
                0 => return Ok(()),
                read => left -= read,
            }
        }
        filled = 0;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
    }
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let mut lines = head.lines().filter_map(|line| line.strip_prefix("content-length:"));
    lines.find_map(|number| number.trim().parse().ok()).unwrap_or(0)
}
