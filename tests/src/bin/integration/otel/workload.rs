//! Runs the workload and reads what it logged.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value as Json;
use telemetry_tests::target_dir;

/// How long the workload may print nothing: longer than its own flush takes.
const SILENCE: Duration = Duration::from_secs(180);

/// What the workload logged.
#[derive(Debug, Default)]
pub(super) struct Logged {
    /// Spans by trace and span id.
    pub(super) spans: BTreeMap<String, Json>,
    /// Logs by the span they belong to.
    pub(super) logs: BTreeMap<String, Json>,
    /// Metric sums: name → labels → value.
    pub(super) metrics: Json,
    /// The last ledger printed: the one after the shutdown if there was one.
    pub(super) ledger: Json,
    /// The ids of the spans in the order of logging.
    pub(super) order: Vec<String>,
}

impl Logged {
    fn sinks(&self) -> Result<&Vec<Json>> {
        self.ledger["sinks"].as_array().context("the workload printed no ledger")
    }

    fn sink(&self, name: &str) -> Result<&Json> {
        let found = self.sinks()?.iter().find(|ledger| ledger["name"] == name);
        found.with_context(|| format!("the ledger has no sink `{name}`"))
    }

    /// Returns one count of a sink's ledger.
    pub(super) fn count(&self, sink: &str, what: &str) -> Result<u64> {
        let ledger = self.sink(sink)?;
        ledger[what].as_u64().with_context(|| format!("{ledger} has no `{what}`"))
    }

    /// Returns why signals of a sink were dropped or failed.
    pub(super) fn reasons(&self, sink: &str) -> Result<serde_json::Map<String, Json>> {
        Ok(self.sink(sink)?["reasons"].as_object().cloned().unwrap_or_default())
    }

    /// Checks that every sink has delivered all that it accepted.
    pub(super) fn ensure_all_delivered(&self) -> Result<()> {
        for sink in self.sinks()? {
            let count = |name: &str| sink[name].as_u64().unwrap_or(u64::MAX);
            let complete = count("accepted") == count("delivered") && count("pending") == 0;
            ensure!(complete, "not everything was delivered: {sink}");
        }
        Ok(())
    }

    fn add(&mut self, line: &Json) {
        if let Some(span) = line.get("span") {
            let id = id_of(span);
            self.order.push(id.clone());
            self.spans.insert(id, span.clone());
        } else if let Some(log) = line.get("log") {
            self.logs.insert(id_of(log), log.clone());
        }
        if let Some(metrics) = line.get("metrics") {
            self.metrics = metrics.clone();
        }
        if let Some(ledger) = line.get("ledger") {
            self.ledger = ledger.clone();
        }
    }
}

/// Returns `TRACE_ID/SPAN_ID` of a span or log.
pub(super) fn id_of(signal: &Json) -> String {
    let text = |name: &str| signal[name].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text("trace_id"), text("span_id"))
}

/// A running workload. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Workload {
    child: Child,
    lines: mpsc::Receiver<String>,
    logged: Logged,
}

impl Workload {
    pub(super) fn start(endpoint: &str, arguments: &[String]) -> Result<Self> {
        let mut command = Command::new(target_dir().join("debug/otel_workload"));
        command.arg(format!("endpoint={endpoint}")).args(arguments).env("OTEL_SERVICE_NAME", "");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let (sender, lines) = mpsc::sync_channel(1_024);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines, logged: Logged::default() })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Reads lines up to the one that contains `what`, and returns that line.
    pub(super) fn until(&mut self, what: &str) -> Result<Json> {
        loop {
            match self.lines.recv_timeout(SILENCE) {
                Ok(line) => {
                    let line: Json = serde_json::from_str(&line)
                        .with_context(|| format!("the line is not JSON: {line}"))?;
                    self.logged.add(&line);
                    if line.get(what).is_some() {
                        return Ok(line);
                    }
                }
                Err(error) => bail!("the workload printed no `{what}`: {error}"),
            }
        }
    }

    /// Ends the pause.
    pub(super) fn resume(&mut self) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("stdin is piped")?;
        Ok(writeln!(stdin)?)
    }

    /// Waits until the workload exits with code 0, and returns what it logged.
    pub(super) fn finish(mut self) -> Result<Logged> {
        self.until("shutdown")?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the workload exited with {status}");
        Ok(std::mem::take(&mut self.logged))
    }

    /// Kills the workload as `kill -9` does, and returns what it had logged.
    pub(super) fn kill(mut self) -> Result<Logged> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(std::mem::take(&mut self.logged))
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // Fails only if the process has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
