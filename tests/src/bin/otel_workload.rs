//! Logs a known workload to the three OTLP sinks and prints what it logged. A test compares that with what real
//! receivers have.
//!
//! ```text
//! otel_workload endpoint=http://127.0.0.1:4318 traces=10 [first=0] [pause=5] [spool=DIR] [quiet=true] [pace=false] \
//!     [flush=30] [shutdown=10] [sink.key=value …]
//! ```
//!
//! Traces are numbered from `first`. `pause=N` stops before trace N until a line arrives on stdin. `sink.key=value`
//! sets an option of all three sinks. `quiet` prints no single spans and logs. `pace=false` keeps logging while the
//! spool is full.
//!
//! Prints JSON objects, one a line: `{"span": …}` for every span, `{"log": …}` for every log,
//! `{"pause": N, "metrics": …, "ledger": …}`, `{"metrics": …}` with the expected sums, `{"flush": …}`,
//! `{"ledger": …}` before the shutdown and `{"shutdown": …}` after it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value as Json, json};
use telemetry_core::{
    Attributes, Entry, Event, EventContext, Key, Location, OptionValue, Options, RunId, Severity,
    SinkContext, SpanId, SpanKey, SpanStatus, Timestamp, TraceId, attrs,
};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkLedger, SinkSpec, Telemetry};

const MODELS: [&str; 2] = ["llama-3.2-1b", "llama-3.2-3b"];
const SEVERITIES: [Severity; 6] =
    [Severity::Verbose, Severity::Debug, Severity::Info, Severity::Warn, Severity::Error, Severity::Critical];

/// Events per trace.
const EVENTS: u64 = 10;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let entries = [&sink_otel::TRACE, &sink_otel::METRIC, &sink_otel::LOG];
    let specs = entries.map(|entry| SinkSpec { entry, context: arguments.context(entry.keys) });
    let pipeline = Pipeline::start(specs.into(), PipelineConfig::default())?;
    let telemetry = pipeline.telemetry();
    let mut sums = Sums::default();
    let has_spool = arguments.pace && arguments.options.iter().any(|(name, _)| name == "spool_path");
    for number in arguments.first..arguments.first + arguments.traces {
        if arguments.pause == Some(number) {
            print_line(&json!({ "pause": number, "metrics": sums.0, "ledger": telemetry.ledger() }))?;
            std::io::stdin().read_line(&mut String::new())?;
        }
        let logged = log_trace(&telemetry, number, &mut sums)?;
        if !arguments.quiet {
            logged.iter().try_for_each(print_line)?;
        }
        keep_pace(&telemetry, u64::from(number - arguments.first + 1) * EVENTS, has_spool);
    }
    print_line(&json!({ "metrics": sums.0 }))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let flushed = runtime.block_on(telemetry.flush(arguments.flush));
    print_line(&json!({ "flush": format!("{flushed:?}") }))?;
    print_line(&json!({ "ledger": telemetry.ledger() }))?;
    let report = pipeline.shutdown(arguments.shutdown);
    print_line(&json!({ "shutdown": format!("{report:?}"), "ledger": telemetry.ledger() }))
}

/// The most signals that may wait in a sink's memory: fewer than fit.
const IN_MEMORY: u64 = 6_000;

/// Waits until the assembler has received what was logged and memory has room again, so that nothing is dropped.
fn keep_pace(telemetry: &Telemetry, logged: u64, has_spool: bool) {
    loop {
        let ledger = telemetry.ledger();
        let crowded = |sink: &SinkLedger| sink.pending > sink.spooled + IN_MEMORY && sink.dropped == 0;
        if ledger.assembler.submissions + 4_096 >= logged && !(has_spool && ledger.sinks.iter().any(crowded))
        {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

struct Arguments {
    first: u32,
    traces: u32,
    quiet: bool,
    pace: bool,
    pause: Option<u32>,
    flush: Duration,
    shutdown: Duration,
    options: Vec<(String, String)>,
}

impl Arguments {
    fn read(arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let seconds = |text: &str| text.parse().map(Duration::from_secs);
        let mut read = Self {
            first: 0,
            traces: 10,
            quiet: false,
            pace: true,
            pause: None,
            flush: Duration::from_secs(30),
            shutdown: Duration::from_secs(10),
            options: vec![("interval".to_owned(), "1s".to_owned())],
        };
        for argument in arguments {
            let (key, value) = argument.split_once('=').context("arguments are key=value")?;
            match key {
                "endpoint" => read.options.push(("endpoint".to_owned(), value.to_owned())),
                "spool" => read.options.push(("spool_path".to_owned(), value.to_owned())),
                "first" => read.first = value.parse()?,
                "quiet" => read.quiet = value.parse()?,
                "pace" => read.pace = value.parse()?,
                "traces" => read.traces = value.parse()?,
                "pause" => read.pause = Some(value.parse()?),
                "flush" => read.flush = seconds(value)?,
                "shutdown" => read.shutdown = seconds(value)?,
                _ => match key.strip_prefix("sink.") {
                    Some(key) => read.options.push((key.to_owned(), value.to_owned())),
                    None => bail!("unknown argument `{key}`"),
                },
            }
        }
        Ok(read)
    }

    /// Returns a context with the options that a sink has keys for. The last one of a name wins.
    fn context(&self, keys: &[Key]) -> SinkContext {
        let entries = keys.iter().filter_map(|key| {
            let (name, text) = self.options.iter().rev().find(|(name, _)| name == key.name)?;
            let value = match (text.parse::<i64>(), text.parse::<bool>()) {
                (Ok(number), _) => OptionValue::Integer(number),
                (_, Ok(flag)) => OptionValue::Flag(flag),
                _ => OptionValue::Text(text.clone()),
            };
            Some((name.clone(), Entry { value, location: Location::default() }))
        });
        let options = Options::new(entries.collect());
        SinkContext {
            service_name: "otel-workload".into(),
            options,
            run: RunId(u64::from(std::process::id())),
        }
    }
}

/// Expected metric values: exported name → labels → sum, or the last value for gauges.
#[derive(Default)]
struct Sums(BTreeMap<String, BTreeMap<String, f64>>);

impl Sums {
    fn add(&mut self, exported: &str, labels: &Attributes, value: f64) {
        *self.slot(exported, labels) += value;
    }

    fn slot(&mut self, exported: &str, labels: &Attributes) -> &mut f64 {
        self.0.entry(exported.to_owned()).or_default().entry(labels.to_json()).or_default()
    }
}

/// Logs a root span, a child with a log, and the metric points of one request. Returns what to print about them.
fn log_trace(telemetry: &Telemetry, number: u32, sums: &mut Sums) -> anyhow::Result<[Json; 3]> {
    let trace_id = TraceId::from_u128((u128::from(rand_like(number)) << 64) | u128::from(number + 1))
        .context("not zero")?;
    let span = |offset: u64| SpanId::from_u64((u64::from(number) << 8) + offset).context("not zero");
    let (root, child) = (SpanKey::new(trace_id, span(1)?), SpanKey::new(trace_id, span(2)?));
    let start = Timestamp::now();
    let at = |nanos: u64| start.saturating_add(Duration::from_nanos(nanos));
    let failed = number % 5 == 4;
    let status = if failed { SpanStatus::Error } else { SpanStatus::Ok };
    let model = MODELS[number as usize % 2];

    let about_root = attrs! {
        "model_id" => model, "number" => number, "temperature" => 0.5, "whole" => 2.0, "stream" => true,
        "text" => "ü 🦙 \"quoted\"",
    };
    let about_child = attrs! { "layer" => "inference" };
    let in_child = EventContext::Span(child);
    let severity = SEVERITIES[number as usize % SEVERITIES.len()];
    let about_log = attrs! { "step" => number };
    let message = format!("trace {number}");

    telemetry.log_event(
        Event::span_start(trace_id, root.span_id, "chat").at(at(0)).with_attributes(about_root.clone()),
    );
    telemetry.log_event(
        Event::span_start(trace_id, child.span_id, "inference")
            .at(at(1_001))
            .with_parent(root.span_id)
            .with_attributes(about_child.clone()),
    );
    telemetry.log_event(
        Event::log(severity, message.clone())
            .at(at(2_002))
            .in_context(in_child)
            .with_attributes(about_log.clone()),
    );
    telemetry.log_event(Event::span_end(trace_id, child.span_id, status).at(at(3_003)));
    telemetry.log_event(Event::span_end(trace_id, root.span_id, status).at(at(4_004)));
    log_metrics(telemetry, number, model, failed, sums);

    let event = json!({
        "name": "unstructured_log", "nanos": at(2_002).as_nanos(),
        "attributes": { "message": message, "severity": severity.as_str(), "step": number },
    });
    let described =
        |key: SpanKey, parent: Option<SpanId>, name: &str, times: [u64; 2], attributes: &Attributes| {
            json!({ "span": {
            "trace_id": key.trace_id.to_string(), "span_id": key.span_id.to_string(),
            "parent_span_id": parent.map(|id| id.to_string()), "name": name, "kind": "internal",
            "start_nanos": at(times[0]).as_nanos(), "end_nanos": at(times[1]).as_nanos(),
            "status": status.as_str(), "attributes": attributes,
            "events": if parent.is_some() { vec![event.clone()] } else { Vec::new() },
        } })
        };
    Ok([
        described(root, None, "chat", [0, 4_004], &about_root),
        described(child, Some(root.span_id), "inference", [1_001, 3_003], &about_child),
        json!({ "log": {
            "trace_id": trace_id.to_string(), "span_id": child.span_id.to_string(), "message": message,
            "severity": severity.as_str(), "nanos": at(2_002).as_nanos(), "attributes": about_log,
        } }),
    ])
}

fn log_metrics(telemetry: &Telemetry, number: u32, model: &'static str, failed: bool, sums: &mut Sums) {
    let of_model = attrs! { "model_id" => model, "provider_id" => "vllm" };
    let counts = [("prompt_tokens", number + 1), ("completion_tokens", 10), ("total_tokens", number + 11)];
    for (name, count) in counts {
        telemetry.log_event(Event::metric(name, count, "tokens").with_attributes(of_model.clone()));
        sums.add(telemetry_core::canonical_name(name), &of_model, f64::from(count));
    }
    let of_api = attrs! { "api" => "inference", "status" => if failed { "500" } else { "200" } };
    let duration = f64::from(number) / 8.0;
    let requests = Event::metric("llama_stack_requests_total", 1, "requests");
    telemetry.log_event(requests.with_attributes(of_api.clone()));
    sums.add("llama_stack_requests_total", &of_api, 1.0);
    let took = Event::metric("llama_stack_request_duration_seconds", duration, "seconds");
    telemetry.log_event(took.with_attributes(of_api.clone()));
    *sums.slot("llama_stack_request_duration_seconds", &of_api) = duration;
}

/// Returns a number that looks random and is the same in every run.
fn rand_like(number: u32) -> u64 {
    (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn print_line(line: &Json) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
