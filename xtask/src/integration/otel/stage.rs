//! The processes of a test: started, asked, stopped, killed.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use telemetry_tests::{Client, eventually};

/// How long a recovery may take: a pause between two tries is at most half a minute.
const RECOVERY: Duration = Duration::from_secs(120);

/// Asks until there is an answer.
pub(super) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
    let started = Instant::now();
    while started.elapsed() < RECOVERY {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    bail!("not within {RECOVERY:?}: {what}")
}

/// A port that nobody uses now.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A running program; killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    child: Child,
    printed: PathBuf,
}

impl Process {
    /// Starts it; what it prints goes to a file.
    pub(super) fn start(name: &'static str, command: &mut Command, printed: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(printed)?;
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn();
        let child = child.with_context(|| format!("can't start {name}: {command:?}"))?;
        Ok(Self { name, child, printed: printed.to_owned() })
    }

    /// Waits until it answers a request at `url`, whatever the answer.
    pub(super) fn answers(mut self, url: &str) -> Result<Self> {
        let name = self.name;
        let answered = eventually(&format!("{name} answers at {url}"), || {
            if self.child.try_wait().ok().flatten().is_some() {
                return Some(false);
            }
            let answer = Client::connect(url).and_then(|mut client| client.get("/"));
            answer.is_ok().then_some(true)
        })?;
        ensure!(answered, "{name} has ended at once; see {}", self.printed.display());
        Ok(self)
    }

    pub(super) fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        ensure!(status.success(), "kill {signal} {}", self.name);
        Ok(())
    }

    /// SIGTERM, and its end.
    pub(super) fn stop(mut self) -> Result<()> {
        self.signal("-TERM")?;
        let status = wait_for("it ends after SIGTERM", || self.child.try_wait().ok().flatten())?;
        ensure!(status.success(), "{} ended with {status}; see {}", self.name, self.printed.display());
        Ok(())
    }

    /// SIGKILL, and its end.
    pub(super) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
