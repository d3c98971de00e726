//! The workload, and what it says it logged.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value as Json;
use telemetry_tests::target_dir;

/// How long the workload may be silent: longer than its own flush takes.
const SILENCE: Duration = Duration::from_secs(180);

/// What was logged.
#[derive(Debug, Default)]
pub(super) struct Logged {
    /// By trace and span id.
    pub(super) spans: BTreeMap<String, Json>,
    /// By the span they belong to.
    pub(super) logs: BTreeMap<String, Json>,
    /// Name → labels → value.
    pub(super) metrics: Json,
    /// The ledger, after the shutdown if it came to that.
    pub(super) ledger: Json,
    /// The ids of the spans, in the order in which they were logged.
    pub(super) order: Vec<String>,
}

impl Logged {
    /// What became of the signals of each sink.
    pub(super) fn sinks(&self) -> Result<&Vec<Json>> {
        self.ledger["sinks"].as_array().context("no ledger was told")
    }

    /// One number of one sink.
    pub(super) fn count(&self, sink: &str, what: &str) -> Result<u64> {
        let sink = self.sinks()?.iter().find(|ledger| ledger["name"] == sink).context("no such sink")?;
        sink[what].as_u64().with_context(|| format!("{sink} has no `{what}`"))
    }

    /// Why signals of a sink were lost.
    pub(super) fn reasons(&self, sink: &str) -> Result<serde_json::Map<String, Json>> {
        let sink = self.sinks()?.iter().find(|ledger| ledger["name"] == sink).context("no such sink")?;
        Ok(sink["reasons"].as_object().cloned().unwrap_or_default())
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

/// `trace/span` of something that has both.
pub(super) fn id_of(signal: &Json) -> String {
    let text = |name: &str| signal[name].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text("trace_id"), text("span_id"))
}

/// A running workload; killed when dropped.
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

    /// Reads on until a line about `what` comes.
    pub(super) fn until(&mut self, what: &str) -> Result<Json> {
        loop {
            match self.lines.recv_timeout(SILENCE) {
                Ok(line) => {
                    let line: Json =
                        serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))?;
                    self.logged.add(&line);
                    if line.get(what).is_some() {
                        return Ok(line);
                    }
                }
                Err(error) => bail!("the workload did not come to `{what}`: {error}"),
            }
        }
    }

    /// Ends its pause.
    pub(super) fn go_on(&mut self) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("stdin is piped")?;
        Ok(writeln!(stdin)?)
    }

    /// Waits for its end, with success.
    pub(super) fn finish(mut self) -> Result<Logged> {
        self.until("shutdown")?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the workload ended with {status}");
        Ok(std::mem::take(&mut self.logged))
    }

    /// Ends it as `kill -9` does.
    pub(super) fn kill(mut self) -> Result<Logged> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(std::mem::take(&mut self.logged))
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
