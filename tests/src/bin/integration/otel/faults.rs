//! Faults of the real Collector and of the sender: everything arrives once.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::collector::Collector;
use super::received::{Received, ensure_same};
use super::workload::{Logged, Workload};
use crate::peers::wait_for;

/// Little memory and small batches, so that an outage reaches the spool.
const LITTLE_MEMORY: [&str; 2] = ["sink.queue_bytes=16MiB", "sink.batch_size=512"];

/// Causes a fault, checks the outcome and describes it.
type Fault = fn(&mut Setup) -> Result<String>;

const FAULTS: [(&str, Fault); 4] = [
    ("absent", absent_at_start),
    ("dies", dies_and_returns),
    ("killed", sender_is_killed),
    ("frozen", shutdown_while_it_hangs),
];

/// One Collector and one sender with its spool.
struct Setup {
    collector: Collector,
    spool: std::path::PathBuf,
    /// Traces logged during the outage.
    traces: u32,
}

impl Setup {
    fn workload(&self, arguments: &[&str]) -> Result<Workload> {
        let mut all = vec![format!("spool={}", self.spool.display()), "flush=150".to_owned()];
        all.extend(LITTLE_MEMORY.map(str::to_owned));
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        Workload::start(&self.collector.endpoint(), &all)
    }

    fn received(&self) -> Result<Received> {
        Received::read(&self.collector.output())
    }

    /// Returns the bytes in the spool of a sink.
    fn spooled_bytes(&self, sink: &str) -> u64 {
        let entries = self.spool.join(sink).read_dir().into_iter().flatten().flatten();
        let segments =
            entries.filter(|entry| entry.path().extension().is_some_and(|suffix| suffix == "spool"));
        segments.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
    }

    /// Checks that everything logged has arrived once.
    fn ensure_all_arrived(&self, logged: &Logged) -> Result<()> {
        logged.ensure_all_delivered()?;
        wait_for("the Collector has written everything", || {
            let received = self.received().ok()?;
            (received.spans.len() == logged.spans.len() && received.logs.len() == logged.logs.len())
                .then_some(())
        })?;
        let received = self.received()?;
        ensure_same("spans", &logged.spans, &received.spans)?;
        ensure_same("logs", &logged.logs, &received.logs)
    }
}

/// Runs all faults, each with a Collector and a spool of its own.
pub(super) fn run(program: &Path, folder: &Path, full: bool) -> Result<()> {
    let traces = if full { 50_000 } else { 5_000 };
    for (name, fault) in FAULTS {
        let collector = Collector::new(program, folder, name, None)?;
        let spool = folder.join(name).join("spool");
        let mut setup = Setup { collector, spool, traces };
        let what = fault(&mut setup)?;
        println!("ok   {what}");
    }
    Ok(())
}

fn absent_at_start(setup: &mut Setup) -> Result<String> {
    let mut workload = setup.workload(&[&format!("traces={}", setup.traces)])?;
    workload.until("metrics")?;
    ensure!(setup.spooled_bytes("otel_trace") > 0, "the outage did not reach the spool");
    setup.collector.start()?;
    let logged = workload.finish()?;
    setup.ensure_all_arrived(&logged)?;
    setup.received()?.ensure_same_metrics(&logged.metrics)?;
    setup.collector.stop()?;
    Ok(format!(
        "a Collector that starts late receives all {} spans once, and the right metrics",
        logged.spans.len()
    ))
}

fn dies_and_returns(setup: &mut Setup) -> Result<String> {
    setup.collector.start()?;
    let before = setup.traces / 3;
    let traces = format!("traces={}", before + setup.traces);
    let mut workload = setup.workload(&[&traces, &format!("pause={before}")])?;
    workload.until("pause")?;
    // It is killed without warning, so it must have written what it acknowledged.
    wait_for("the Collector has written what came before the kill", || {
        let received = setup.received().ok()?;
        (received.spans.len() == 2 * before as usize && received.logs.len() == before as usize).then_some(())
    })?;
    setup.collector.kill()?;
    workload.resume()?;
    workload.until("metrics")?;
    ensure!(setup.spooled_bytes("otel_trace") > 0, "the outage did not reach the spool");
    setup.collector.start()?;
    let logged = workload.finish()?;
    setup.ensure_all_arrived(&logged)?;
    setup.collector.stop()?;
    Ok(format!(
        "a Collector that is killed and started again after {} spans has all {} once",
        2 * setup.traces,
        logged.spans.len()
    ))
}

/// Kills the sender with `kill -9` during the outage. The next sender delivers the spool, oldest first.
fn sender_is_killed(setup: &mut Setup) -> Result<String> {
    let pause = format!("pause={}", setup.traces);
    let mut workload = setup.workload(&[&format!("traces={}", setup.traces + 1), &pause])?;
    let ledger = workload.until("pause")?["ledger"].clone();
    let of_traces = |sinks: &serde_json::Value| sinks[0]["spooled"].as_u64().unwrap_or_default();
    let spooled = of_traces(&ledger["sinks"]);
    ensure!(spooled > 0, "the outage did not reach the spool: {ledger}");
    let killed = workload.kill()?;
    setup.collector.start()?;
    let next = setup.workload(&["traces=0"])?.finish()?;
    next.ensure_all_delivered()?;
    let sent = next.count("otel_trace", "delivered")?;
    ensure!(sent >= spooled, "{spooled} spans were in the spool, {sent} were sent");
    let received = wait_for("the Collector has written the spooled spans", || {
        let received = setup.received().ok()?;
        (received.spans.len() as u64 == sent).then_some(received)
    })?;
    // Spans are delivered when they end, so a child comes before its parent.
    let ended = killed.order.chunks(2).flat_map(|pair| pair.iter().rev());
    let expected: BTreeSet<&String> = ended.take(received.spans.len()).collect();
    let found: BTreeSet<&String> = received.spans.keys().collect();
    ensure!(found == expected, "the spans that arrived are not the ones logged first");
    for (id, copies) in &received.spans {
        ensure!(copies.len() == 1 && copies[0] == killed.spans[id], "{id} arrived as {copies:?}");
    }
    setup.collector.stop()?;
    Ok(format!("after kill -9 of the sender its {sent} spooled spans arrive once, oldest first"))
}

/// Shuts the sender down while the Collector is frozen: it takes ten seconds at most and spools the rest.
fn shutdown_while_it_hangs(setup: &mut Setup) -> Result<String> {
    setup.collector.start()?;
    setup.collector.freeze()?;
    let mut workload = setup.workload(&[&format!("traces={}", setup.traces), "flush=1", "shutdown=10"])?;
    workload.until("flush")?;
    let started = Instant::now();
    let logged = workload.finish()?;
    let took = started.elapsed();
    ensure!(took < Duration::from_secs(12), "the shutdown took {took:?}");
    for sink in ["otel_trace", "otel_log"] {
        let (accepted, spooled) = (logged.count(sink, "accepted")?, logged.count(sink, "spooled")?);
        ensure!(accepted == spooled, "{sink}: only {spooled} of {accepted} signals were spooled");
    }
    let gathered = logged.count("otel_metric", "accepted")?;
    let counted = logged.count("otel_metric", "failed")? + logged.count("otel_metric", "dropped")?;
    ensure!(
        gathered == counted,
        "otel_metric: {counted} of {gathered} metric points are counted as failed or dropped"
    );
    setup.collector.unfreeze()?;
    let next = setup.workload(&["traces=0"])?.finish()?;
    next.ensure_all_delivered()?;
    wait_for("the Collector has every span", || {
        let received = setup.received().ok()?;
        (received.spans.len() == logged.spans.len() && received.logs.len() == logged.logs.len()).then_some(())
    })?;
    setup.collector.stop()?;
    Ok(format!(
        "a shutdown while the Collector is frozen takes {:.1} s, and the next start delivers all {} spans",
        took.as_secs_f64(),
        logged.spans.len()
    ))
}
