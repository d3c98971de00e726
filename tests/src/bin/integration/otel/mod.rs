//! OTLP export to real receivers: the OpenTelemetry Collector, Jaeger, Prometheus and rotel.
//!
//! A known workload is sent. Everything that the receivers have is compared with what was logged.

mod collector;
mod faults;
mod jaeger;
mod memory;
mod prometheus;
mod received;
mod rotel;
mod workload;

use std::path::Path;

use anyhow::Result;
use telemetry_tests::{cargo, empty_folder};

use self::collector::Collector;
use self::jaeger::Jaeger;
use self::prometheus::CollectorMetrics;
use self::received::{Received, ensure_same};
use self::workload::Workload;
use crate::peers::{install, wait_for};

/// Traces in the workload that is compared field by field.
const TRACES: u32 = 100;

/// Runs all comparisons and faults. With `full` the outages are longer.
pub(crate) fn run(full: bool) -> Result<()> {
    let build = ["build", "--quiet", "--package", "telemetry-tests", "--bin", "otel_workload"];
    telemetry_tests::run(&mut cargo(&build))?;
    let folder = empty_folder("otel")?;
    let collector = install::collector()?;
    compare(&collector, &folder)?;
    rotel::run(&folder)?;
    faults::run(&collector, &folder, full)?;
    memory::run(&folder, full)
}

/// Checks that the Collector, Jaeger and Prometheus have what was logged.
fn compare(collector: &Path, folder: &Path) -> Result<()> {
    let jaeger = Jaeger::start(&install::jaeger()?, folder)?;
    let mut collector = Collector::new(collector, folder, "compare", Some(&jaeger.otlp))?;
    collector.start()?;
    let prometheus = CollectorMetrics::start(folder, &collector.metrics_address())?;

    let pause = TRACES / 2;
    let arguments = [format!("traces={TRACES}"), format!("pause={pause}")];
    let mut workload = Workload::start(&collector.endpoint(), &arguments)?;
    let at_pause = workload.until("pause")?;
    // A rate needs samples at different times.
    prometheus.wait_for_sum(&at_pause["metrics"])?;
    workload.resume()?;
    let logged = workload.finish()?;
    logged.ensure_all_delivered()?;

    let received = wait_for("the Collector has written everything", || {
        let received = Received::read(&collector.output()).ok()?;
        (received.spans.len() == logged.spans.len() && received.logs.len() == logged.logs.len())
            .then_some(received)
    })?;
    ensure_same("spans", &logged.spans, &received.spans)?;
    ensure_same("logs", &logged.logs, &received.logs)?;
    received.ensure_same_metrics(&logged.metrics)?;
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
