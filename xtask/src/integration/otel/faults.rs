//! The real Collector, away, dead, frozen; and this side killed: everything arrives, and is counted once.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::logged::{Logged, Workload};
use super::received::Received;
use super::stage::Collector;
use super::{everything_delivered, same};
use crate::integration::peers::wait_for;

/// So little memory, and so small batches under way, that an outage reaches the disk.
const LITTLE_MEMORY: [&str; 2] = ["sink.queue_bytes=16MiB", "sink.batch_size=512"];

/// A fault: its name, and what happens.
type Fault = fn(&mut Stage) -> Result<String>;

const FAULTS: [(&str, Fault); 4] = [
    ("absent", absent_at_start),
    ("dies", dies_and_returns),
    ("killed", this_side_is_killed),
    ("frozen", shutdown_while_it_hangs),
];

struct Stage {
    collector: Collector,
    spool: std::path::PathBuf,
    /// Traces logged while the Collector is away.
    traces: u32,
}

impl Stage {
    fn workload(&self, arguments: &[&str]) -> Result<Workload> {
        let mut all = vec![format!("spool={}", self.spool.display()), "flush=150".to_owned()];
        all.extend(LITTLE_MEMORY.map(str::to_owned));
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        Workload::start(&self.collector.endpoint(), &all)
    }

    fn received(&self) -> Result<Received> {
        Received::read(&self.collector.output())
    }

    /// Bytes of signals on disk.
    fn spooled_bytes(&self, sink: &str) -> u64 {
        let entries = self.spool.join(sink).read_dir().into_iter().flatten().flatten();
        let segments =
            entries.filter(|entry| entry.path().extension().is_some_and(|suffix| suffix == "spool"));
        segments.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
    }

    /// Everything logged has arrived, each thing once.
    fn all_arrived_once(&self, logged: &Logged) -> Result<()> {
        everything_delivered(logged)?;
        wait_for("the Collector has written everything", || {
            let received = self.received().ok()?;
            (received.spans.len() == logged.spans.len() && received.logs.len() == logged.logs.len())
                .then_some(())
        })?;
        let received = self.received()?;
        same("spans", &logged.spans, &received.spans)?;
        same("logs", &logged.logs, &received.logs)
    }
}

pub(super) fn run(program: &Path, folder: &Path, full: bool) -> Result<()> {
    let traces = if full { 50_000 } else { 5_000 };
    for (name, fault) in FAULTS {
        let collector = Collector::new(program, folder, name, None)?;
        let spool = folder.join(name).join("spool");
        let mut stage = Stage { collector, spool, traces };
        let what = fault(&mut stage)?;
        println!("ok   {what}");
    }
    Ok(())
}

fn absent_at_start(stage: &mut Stage) -> Result<String> {
    let mut workload = stage.workload(&[&format!("traces={}", stage.traces)])?;
    workload.until("metrics")?;
    ensure!(stage.spooled_bytes("otel_trace") > 0, "the outage did not reach the disk");
    stage.collector.start()?;
    let logged = workload.finish()?;
    stage.all_arrived_once(&logged)?;
    stage.received()?.same_metrics(&logged.metrics)?;
    stage.collector.stop()?;
    Ok(format!(
        "a Collector that comes late gets all {} spans, each once, and the right metrics",
        logged.spans.len()
    ))
}

fn dies_and_returns(stage: &mut Stage) -> Result<String> {
    stage.collector.start()?;
    let before = stage.traces / 3;
    let traces = format!("traces={}", before + stage.traces);
    let mut workload = stage.workload(&[&traces, &format!("pause={before}")])?;
    workload.until("pause")?;
    // What it has answered it must have written: it dies without a word.
    wait_for("the Collector has what came before its death", || {
        let received = stage.received().ok()?;
        (received.spans.len() == 2 * before as usize && received.logs.len() == before as usize).then_some(())
    })?;
    stage.collector.kill()?;
    workload.go_on()?;
    workload.until("metrics")?;
    ensure!(stage.spooled_bytes("otel_trace") > 0, "the outage did not reach the disk");
    stage.collector.start()?;
    let logged = workload.finish()?;
    stage.all_arrived_once(&logged)?;
    stage.collector.stop()?;
    Ok(format!(
        "a Collector killed and back after {} spans has all {}, each once",
        2 * stage.traces,
        logged.spans.len()
    ))
}

/// `kill -9` of the sending process in the outage: what was on disk is sent by the next one, in order.
fn this_side_is_killed(stage: &mut Stage) -> Result<String> {
    let pause = format!("pause={}", stage.traces);
    let mut workload = stage.workload(&[&format!("traces={}", stage.traces + 1), &pause])?;
    let ledger = workload.until("pause")?["ledger"].clone();
    let of_traces = |sinks: &serde_json::Value| sinks[0]["spooled"].as_u64().unwrap_or_default();
    let spooled = of_traces(&ledger["sinks"]);
    ensure!(spooled > 0, "the outage did not reach the disk: {ledger}");
    let killed = workload.kill()?;
    stage.collector.start()?;
    let next = stage.workload(&["traces=0"])?.finish()?;
    everything_delivered(&next)?;
    let sent = next.count("otel_trace", "delivered")?;
    ensure!(sent >= spooled, "{spooled} spans were on disk, {sent} were sent");
    let received = wait_for("the Collector has written what was on disk", || {
        let received = stage.received().ok()?;
        (received.spans.len() as u64 == sent).then_some(received)
    })?;
    // Spans are delivered when they end: the child before its parent.
    let ended = killed.order.chunks(2).flat_map(|pair| pair.iter().rev());
    let expected: BTreeSet<&String> = ended.take(received.spans.len()).collect();
    let found: BTreeSet<&String> = received.spans.keys().collect();
    ensure!(found == expected, "what arrived is not what was logged first");
    for (id, copies) in &received.spans {
        ensure!(copies.len() == 1 && copies[0] == killed.spans[id], "{id} arrived as {copies:?}");
    }
    stage.collector.stop()?;
    Ok(format!("after kill -9 of the sender the {sent} spans on disk arrive, the oldest first, each once"))
}

/// The Collector holds its connections and answers nothing: ten seconds in all, exit 0, the rest on disk.
fn shutdown_while_it_hangs(stage: &mut Stage) -> Result<String> {
    stage.collector.start()?;
    stage.collector.freeze()?;
    let mut workload = stage.workload(&[&format!("traces={}", stage.traces), "flush=1", "shutdown=10"])?;
    workload.until("flush")?;
    let started = Instant::now();
    let logged = workload.finish()?;
    let took = started.elapsed();
    ensure!(took < Duration::from_secs(12), "the shutdown took {took:?}");
    for sink in ["otel_trace", "otel_log"] {
        let (accepted, spooled) = (logged.count(sink, "accepted")?, logged.count(sink, "spooled")?);
        ensure!(accepted == spooled, "{sink}: of {accepted} signals {spooled} were spooled");
    }
    let gathered = logged.count("otel_metric", "accepted")?;
    let counted = logged.count("otel_metric", "failed")? + logged.count("otel_metric", "dropped")?;
    ensure!(gathered == counted, "otel_metric: of {gathered} measurements {counted} are counted as lost");
    stage.collector.thaw()?;
    let next = stage.workload(&["traces=0"])?.finish()?;
    everything_delivered(&next)?;
    wait_for("the Collector has every span", || {
        let received = stage.received().ok()?;
        (received.spans.len() == logged.spans.len() && received.logs.len() == logged.logs.len()).then_some(())
    })?;
    stage.collector.stop()?;
    Ok(format!(
        "a shutdown while the Collector hangs takes {:.1} s, and the next start delivers all {} spans",
        took.as_secs_f64(),
        logged.spans.len()
    ))
}
