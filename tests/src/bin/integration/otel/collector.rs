//! The OpenTelemetry Collector of a test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::peers::{Process, free_port};

/// An OpenTelemetry Collector that can be started and stopped several times on the same ports.
#[derive(Debug)]
pub(super) struct Collector {
    program: PathBuf,
    config: PathBuf,
    folder: PathBuf,
    http: u16,
    metrics: u16,
    process: Option<Process>,
}

impl Collector {
    /// Configures a Collector that writes everything to a file and exposes metrics as `deploy/collector.yaml` does.
    /// It has no batch processor, so that it has exported everything it has acknowledged.
    pub(super) fn new(program: &Path, folder: &Path, name: &str, jaeger: Option<&str>) -> Result<Self> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let (http, metrics) = (free_port()?, free_port()?);
        let output = folder.join("received.jsonl");
        let (exporter, to_jaeger) = match jaeger {
            Some(endpoint) => (
                format!("  otlp/jaeger: {{endpoint: \"{endpoint}\", tls: {{insecure: true}}}}\n"),
                ", otlp/jaeger",
            ),
            None => (String::new(), ""),
        };
        let config = format!(
            "receivers:\n  otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{http}\"}}}}}}\n\
             exporters:\n{exporter}  file: {{path: \"{}\", append: true, flush_interval: 100ms}}\n  \
             prometheus:\n    endpoint: 127.0.0.1:{metrics}\n    \
             translation_strategy: UnderscoreEscapingWithoutSuffixes\n    without_scope_info: true\n\
             service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    \
             traces: {{receivers: [otlp], exporters: [file{to_jaeger}]}}\n    \
             metrics: {{receivers: [otlp], exporters: [file, prometheus]}}\n    \
             logs: {{receivers: [otlp], exporters: [file]}}\n",
            output.display()
        );
        let path = folder.join("collector.yaml");
        std::fs::write(&path, config)?;
        Ok(Self { program: program.to_owned(), config: path, folder, http, metrics, process: None })
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    pub(super) fn metrics_address(&self) -> String {
        format!("127.0.0.1:{}", self.metrics)
    }

    /// Returns the file it writes to.
    pub(super) fn output(&self) -> PathBuf {
        self.folder.join("received.jsonl")
    }

    pub(super) fn start(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config);
        let process = Process::start("the Collector", &mut command, &self.folder.join("collector.log"))?;
        self.process = Some(process.wait_until_up(&self.endpoint())?);
        Ok(())
    }

    fn process(&mut self) -> Result<Process> {
        self.process.take().context("the Collector is running")
    }

    pub(super) fn stop(&mut self) -> Result<()> {
        self.process()?.stop()
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        self.process()?.kill()
    }

    /// Stops the process with SIGSTOP: it still listens but answers nothing.
    pub(super) fn freeze(&self) -> Result<()> {
        self.process.as_ref().context("the Collector is running")?.signal("-STOP")
    }

    /// Resumes the process.
    pub(super) fn unfreeze(&self) -> Result<()> {
        self.process.as_ref().context("the Collector is running")?.signal("-CONT")
    }
}
