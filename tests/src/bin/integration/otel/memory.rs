//! A long outage: memory does not grow, the spool stays within its limit, and dropped signals are counted.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::workload::Workload;
use crate::peers::free_port;

/// Limit of each spool. A quarter of the workload fills the spool and the memory.
const SPOOL_MIB: u64 = 2;

/// Runs a workload without a receiver and checks its memory, its spool and its ledger.
pub(super) fn run(folder: &Path, full: bool) -> Result<()> {
    let traces: u32 = if full { 400_000 } else { 40_000 };
    let spool = folder.join("memory");
    let arguments = [
        format!("traces={traces}"),
        format!("pause={}", traces / 4),
        format!("spool={}", spool.display()),
        format!("sink.spool_size={SPOOL_MIB}MiB"),
        "sink.queue_bytes=16MiB".to_owned(),
        "quiet=true".to_owned(),
        "pace=false".to_owned(),
        "flush=1".to_owned(),
        "shutdown=5".to_owned(),
    ];
    // No receiver listens at this port.
    let endpoint = format!("http://127.0.0.1:{}", free_port()?);
    // The pause comes when memory and spool are full. From then on memory must not grow.
    let mut workload = Workload::start(&endpoint, &arguments)?;
    workload.until("pause")?;
    let mut rss = [resident_kib(workload.id())?, 0];
    workload.resume()?;
    workload.until("metrics")?;
    rss[1] = resident_kib(workload.id())?;
    let logged = workload.finish()?;
    let on_disk: u64 = ["otel_trace", "otel_log"].iter().map(|sink| size(&spool.join(sink))).sum();
    let dropped = logged.count("otel_trace", "dropped")?;
    // The allocator may still grow a little.
    ensure!(rss[1] <= rss[0] + rss[0] / 4, "resident memory grew from {} to {} KiB", rss[0], rss[1]);
    ensure!(on_disk <= (2 * SPOOL_MIB) << 20, "the spools have {on_disk} bytes");
    let reasons = logged.reasons("otel_trace")?;
    ensure!(reasons.contains_key("spool full"), "the limit of the spool was not reached: {reasons:?}");
    let count = |what: &str| logged.count("otel_trace", what);
    ensure!(
        count("accepted")? == count("pending")? + dropped + count("failed")?,
        "the ledger does not add up"
    );
    println!(
        "ok   an outage of {traces} traces: {} MiB resident after a quarter, {} MiB at the end, {} MiB on disk, {dropped} spans dropped and counted",
        rss[0] / 1_024,
        rss[1] / 1_024,
        on_disk >> 20
    );
    Ok(())
}

/// Returns the resident memory of a process.
fn resident_kib(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("Linux reports VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Returns the bytes of the files in a folder.
fn size(folder: &Path) -> u64 {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
}
