//! A long outage: memory stays where it was, the disk within its bound, and what does not fit is counted.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::logged::Workload;
use crate::integration::peers::free_port;

/// Bound of each spool. A quarter of the workload's traces fills it, and memory.
const SPOOL_MIB: u64 = 2;

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
    // Nobody listens there.
    let endpoint = format!("http://127.0.0.1:{}", free_port()?);
    // Paused once memory and disk are full, and looked at from then on.
    let mut workload = Workload::start(&endpoint, &arguments)?;
    workload.until("pause")?;
    let mut rss = [resident_kib(workload.id())?, 0];
    workload.go_on()?;
    workload.until("metrics")?;
    rss[1] = resident_kib(workload.id())?;
    let logged = workload.finish()?;
    let on_disk: u64 = ["otel_trace", "otel_log"].iter().map(|sink| size(&spool.join(sink))).sum();
    let dropped = logged.count("otel_trace", "dropped")?;
    // The allocator settles: some growth, which has an end.
    ensure!(rss[1] <= rss[0] + rss[0] / 4, "resident memory grew from {} to {} KiB", rss[0], rss[1]);
    ensure!(on_disk <= (2 * SPOOL_MIB) << 20, "{on_disk} bytes on disk");
    let reasons = logged.reasons("otel_trace")?;
    ensure!(reasons.contains_key("spool full"), "the bound of the spool was not reached: {reasons:?}");
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

/// Resident memory of a process, as Linux counts it.
fn resident_kib(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("Linux says VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn size(folder: &Path) -> u64 {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
}
