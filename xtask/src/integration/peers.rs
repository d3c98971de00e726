//! The peers of a test: processes that are started, asked, stopped, killed.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value as Json;
use telemetry_tests::{Client, eventually};

use crate::command::root;

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

/// A JSON answer of a peer.
pub(super) fn ask(url: &str, path: &str) -> Result<Json> {
    let answer = Client::connect(url)?.get(path)?;
    ensure!(answer.status == 200, "GET {url}{path}: {} {}", answer.status, answer.text());
    Ok(answer.json())
}

/// Percent-encodes a part of a query.
pub(super) fn encoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A Prometheus with this configuration, its files in `folder`: the process, and where it answers.
pub(super) fn prometheus(program: &Path, config: &Path, folder: &Path) -> Result<(Process, String)> {
    let port = free_port()?;
    let url = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let process = Process::start("Prometheus", &mut command, &folder.join("prometheus.log"))?;
    Ok((process.answers(&url)?, url))
}

/// What a Prometheus answers to an instant query, a series per element.
pub(super) fn series(url: &str, query: &str) -> Result<Vec<Json>> {
    let answer = ask(url, &format!("/api/v1/query?query={}", encoded(query)))?;
    Ok(answer["data"]["result"].as_array().with_context(|| format!("{query}: {answer}"))?.clone())
}

/// The value of a series.
pub(super) fn value(series: &Json) -> Result<f64> {
    let value = series["value"][1].as_str().and_then(|value| value.parse().ok());
    value.with_context(|| format!("no value in {series}"))
}

/// The PromQL that the documentation shows.
pub(super) fn documented_queries() -> Result<Vec<String>> {
    let page = std::fs::read_to_string(root().join("docs/promql.md"))?;
    let blocks = page.split("```promql\n").skip(1);
    let queries: Vec<String> =
        blocks.filter_map(|block| block.split("\n```").next()).map(str::to_owned).collect();
    ensure!(queries.len() > 5, "docs/promql.md has {} queries", queries.len());
    Ok(queries)
}
