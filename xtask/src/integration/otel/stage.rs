//! The Collector of a test, started and ended at will.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::integration::peers::{Process, free_port};

/// The OpenTelemetry Collector, always on the same ports, started and ended at will.
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
    /// A collector that writes what it gets to a file, and shows metrics as `deploy/collector.yaml` does.
    /// Without a batch processor: what it has answered, it has.
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

    /// Where it writes what it got.
    pub(super) fn output(&self) -> PathBuf {
        self.folder.join("received.jsonl")
    }

    pub(super) fn start(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config);
        let process = Process::start("the Collector", &mut command, &self.folder.join("collector.log"))?;
        self.process = Some(process.answers(&self.endpoint())?);
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

    /// It goes on listening and answers nothing.
    pub(super) fn freeze(&self) -> Result<()> {
        self.process.as_ref().context("the Collector is running")?.signal("-STOP")
    }

    pub(super) fn thaw(&self) -> Result<()> {
        self.process.as_ref().context("the Collector is running")?.signal("-CONT")
    }
}
