//! The server over HTTP: acknowledged events, start to first answer, memory.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use telemetry_tests::{Client, Settings};

use crate::figures::line;

const CONNECTIONS: u64 = 16;
/// Events in a request of about 4 MB.
const BATCH: usize = 16_000;
/// Pause after a refusal: a tenth of what the server asks for.
const PAUSE: Duration = Duration::from_millis(100);

/// Returns the resident memory of a process, in MB.
pub(crate) fn resident(process: u32) -> Result<f64> {
    memory(process, "VmRSS:")
}

/// Returns a value of `/proc/PID/status`, in MB.
fn memory(process: u32, what: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let value = status.lines().find_map(|found| found.strip_prefix(what));
    let value = value.with_context(|| format!("no {what}"))?;
    Ok(value.trim().trim_end_matches(" kB").parse::<f64>()? / 1_024.0)
}

/// What a connection sends.
#[derive(Clone, Copy)]
enum Traffic {
    /// Metric points, in one trace per connection.
    Metrics,
    /// Whole spans in traces of ten. Each has a start, a log, a metric point and an end.
    Spans,
}

impl Traffic {
    /// Returns event `number` of a connection.
    fn event(self, connection: u64, number: u64) -> Value {
        let time = "2026-03-01T12:00:00.123456Z";
        let metric = |trace: u64, span: u64| {
            json!({
                "type": "metric", "trace_id": format!("{trace:032x}"), "span_id": format!("{span:016x}"),
                "timestamp": time, "metric": "prompt_tokens", "value": 42, "unit": "tokens",
                "attributes": {"model_id": "llama-3.2-3b", "provider_id": "meta-reference"},
            })
        };
        let Self::Spans = self else { return metric(connection + 1, number) };
        let span = (connection + 1) << 40 | number.div_ceil(4);
        let trace = (connection + 1) << 40 | number.div_ceil(40);
        let ids = (format!("{trace:032x}"), format!("{span:016x}"));
        match number % 4 {
            1 => json!({
                "type": "structured_log", "trace_id": ids.0, "span_id": ids.1, "timestamp": time,
                "attributes": {"model_id": "llama-3.2-3b", "stream": true, "max_tokens": 512},
                "payload": {"type": "span_start", "name": "chat_completion"},
            }),
            2 => json!({
                "type": "unstructured_log", "trace_id": ids.0, "span_id": ids.1, "timestamp": time,
                "message": "the first token is out", "severity": "info",
            }),
            3 => metric(trace, span),
            _ => json!({
                "type": "structured_log", "trace_id": ids.0, "span_id": ids.1, "timestamp": time,
                "attributes": {"tokens": 128, "finish_reason": "stop"},
                "payload": {"type": "span_end", "status": "ok"},
            }),
        }
    }
}

/// Sends events on one connection until the time is over.
fn post(
    url: &str,
    traffic: Traffic,
    connection: u64,
    until: Instant,
    latencies: &Mutex<Histogram<u64>>,
) -> Result<()> {
    let mut client = Client::connect(url)?;
    let mut mine = Histogram::<u64>::new(3)?;
    for number in 1.. {
        if Instant::now() >= until {
            break;
        }
        let event = json!({"event": traffic.event(connection, number)});
        let started = Instant::now();
        let answer = client.post("/v1/telemetry/events", &event)?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        mine.record(u64::try_from(started.elapsed().as_micros())?)?;
    }
    latencies.lock().map_err(|_| anyhow::anyhow!("a connection panicked"))?.add(mine)?;
    Ok(())
}

/// Sends on all connections for some time. Returns the latencies in microseconds.
fn post_all(url: &str, traffic: Traffic, time: Duration) -> Result<Histogram<u64>> {
    let latencies = Mutex::new(Histogram::new(3)?);
    let until = Instant::now() + time;
    std::thread::scope(|scope| -> Result<()> {
        let latencies = &latencies;
        let running: Vec<_> = (0..CONNECTIONS)
            .map(|connection| scope.spawn(move || post(url, traffic, connection, until, latencies)))
            .collect();
        for thread in running {
            thread.join().map_err(|_| anyhow::anyhow!("a connection panicked"))??;
        }
        Ok(())
    })?;
    latencies.into_inner().context("a connection panicked")
}

/// Sends large requests on more connections than the server admits. Refused connections retry after [`PAUSE`].
/// Returns how many requests were stored and how many refused.
fn overload(url: &str, time: Duration) -> Result<(u32, u32)> {
    let event = Traffic::Spans.event(0, 2);
    let batch = json!({"events": vec![json!({"event": event}); BATCH]});
    let until = Instant::now() + time;
    let (stored, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    let post = || -> Result<()> {
        while Instant::now() < until {
            // A client that is refused before it has sent everything may see a closed connection and no answer.
            match Client::connect(url)?.post("/v1/telemetry/events", &batch) {
                Ok(answer) if answer.status == 200 => stored.fetch_add(1, Ordering::Relaxed),
                Ok(answer) if !matches!(answer.status, 429 | 503) => bail!("{}", answer.status),
                Ok(_) | Err(_) => {
                    std::thread::park_timeout(PAUSE);
                    refused.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
        Ok(())
    };
    std::thread::scope(|scope| -> Result<()> {
        let running: Vec<_> = (0..CONNECTIONS * 2).map(|_| scope.spawn(post)).collect();
        for thread in running {
            thread.join().map_err(|_| anyhow::anyhow!("a connection panicked"))??;
        }
        Ok(())
    })?;
    Ok((stored.into_inner(), refused.into_inner()))
}

pub(crate) fn run(program: PathBuf, seconds: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let started = Instant::now();
    let server = Settings::sqlite_in(folder.path()).program(program).start()?;
    let answer = Client::connect(server.url())?.get("/v1/health")?;
    let first_answer = started.elapsed().as_secs_f64() * 1e3;
    ensure!(answer.status == 200, "{}", answer.text());
    line("start to first answer", first_answer, "ms", "limit", 100.0);
    line("memory, idle", resident(server.id())?, "MB", "limit", 25.0);
    for (traffic, of_what) in
        [(Traffic::Metrics, "measurements"), (Traffic::Spans, "spans with a log and a measurement")]
    {
        let latencies = post_all(server.url(), traffic, Duration::from_secs(seconds))?;
        let rate = latencies.len() as f64 / seconds as f64;
        println!("POST /events, 16 connections, acknowledged durable: {of_what}");
        line("  events", rate, "req/s", "promise", 10_000.0);
        line("  latency, p50", latencies.value_at_quantile(0.5) as f64 / 1e3, "ms", "limit of p99", 20.0);
        line("  latency, p99", latencies.value_at_quantile(0.99) as f64 / 1e3, "ms", "limit", 20.0);
    }
    line("memory, after the load", resident(server.id())?, "MB", "limit", 200.0);
    let (stored, refused) = overload(server.url(), Duration::from_secs(seconds))?;
    println!("batches of {BATCH} events, 32 connections: {stored} stored, {refused} refused");
    ensure!(stored > 0 && refused > 0, "that was no overload");
    line("memory, at most", memory(server.id(), "VmHWM:")?, "MB", "limit", 200.0);
    let ended = server.stop()?;
    ensure!(ended.status.success(), "{ended:?}");
    Ok(())
}
