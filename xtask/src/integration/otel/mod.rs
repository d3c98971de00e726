//! OTLP out, against what receives it in the world: the OpenTelemetry Collector, Jaeger, Prometheus, rotel.
//!
//! A known workload is sent, and everything that comes out at the other end is compared with what was logged.

mod faults;
mod jaeger;
mod logged;
mod memory;
mod prometheus;
mod received;
mod rotel;
mod stage;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value as Json, json};
use telemetry_tests::target_dir;

use self::jaeger::Jaeger;
use self::logged::{Logged, Workload};
use self::prometheus::Prometheus;
use self::received::Received;
use self::stage::Collector;
use super::parts;
use super::peers::wait_for;
use crate::command::{self, cargo};

/// Traces of the workload that is compared field by field.
const TRACES: u32 = 100;

/// Everything. `full`: longer outages.
pub(crate) fn run(full: bool) -> Result<()> {
    command::run(&mut cargo(&[
        "build",
        "--quiet",
        "--package",
        "telemetry-tests",
        "--bin",
        "otel_workload",
    ]))?;
    let folder = target_dir().join("integration/otel");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let collector = parts::collector()?;
    compare(&collector, &folder)?;
    rotel::run(&folder)?;
    faults::run(&collector, &folder, full)?;
    memory::run(&folder, full)
}

/// What the Collector, Jaeger and Prometheus show is what was logged.
fn compare(collector: &Path, folder: &Path) -> Result<()> {
    let jaeger = Jaeger::start(&parts::jaeger()?, folder)?;
    let mut collector = Collector::new(collector, folder, "compare", Some(&jaeger.otlp))?;
    collector.start()?;
    let prometheus = Prometheus::start(folder, &collector.metrics_address())?;

    let pause = TRACES / 2;
    let arguments = [format!("traces={TRACES}"), format!("pause={pause}")];
    let mut workload = Workload::start(&collector.endpoint(), &arguments)?;
    let at_pause = workload.until("pause")?;
    // A rate needs samples at different times.
    prometheus.wait_for_sum(&at_pause["metrics"])?;
    workload.go_on()?;
    let logged = workload.finish()?;
    everything_delivered(&logged)?;

    let received = wait_for("the collector has written everything", || {
        let received = Received::read(&collector.output()).ok()?;
        (received.spans.len() == logged.spans.len() && received.logs.len() == logged.logs.len())
            .then_some(received)
    })?;
    same("spans", &logged.spans, &received.spans)?;
    same("logs", &logged.logs, &received.logs)?;
    received.same_metrics(&logged.metrics)?;
    println!(
        "ok   the Collector has every span, log and metric as it was logged: {} spans, {} logs, {} series",
        logged.spans.len(),
        logged.logs.len(),
        received.series()
    );
    prometheus.check(&logged.metrics, &at_pause["metrics"])?;
    jaeger.check(&logged)?;
    collector.stop()
}

/// The ledger after the end: nothing failed, nothing was dropped, nothing is left.
fn everything_delivered(logged: &Logged) -> Result<()> {
    for sink in logged.sinks()? {
        let count = |name: &str| sink[name].as_u64().unwrap_or(u64::MAX);
        ensure!(
            count("accepted") == count("delivered") && count("pending") == 0,
            "not everything arrived: {sink}"
        );
    }
    Ok(())
}

/// Each logged thing was received once and is equal in every field.
fn same(
    what: &str,
    logged: &std::collections::BTreeMap<String, Json>,
    received: &std::collections::BTreeMap<String, Vec<Json>>,
) -> Result<()> {
    for (id, expected) in logged {
        let found = received.get(id).with_context(|| format!("{what}: {id} did not arrive"))?;
        ensure!(found.len() == 1, "{what}: {id} arrived {} times", found.len());
        ensure!(found[0] == *expected, "{what}: {id}\n  logged   {expected}\n  received {}", found[0]);
    }
    let unknown: Vec<_> = received.keys().filter(|id| !logged.contains_key(*id)).take(3).collect();
    ensure!(unknown.is_empty(), "{what} nobody logged: {unknown:?}");
    Ok(())
}

/// `null` is no object to compare with.
fn object(pairs: impl IntoIterator<Item = (String, Json)>) -> Json {
    json!(pairs.into_iter().collect::<serde_json::Map<_, _>>())
}
