//! Processes that a test starts, queries, signals and kills.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value as Json;
use telemetry_tests::{Client, eventually, eventually_within};

/// How long a recovery may take. The longest pause between two tries is half a minute.
const RECOVERY: Duration = Duration::from_secs(120);

/// Calls `ask` until it returns a value, for as long as a recovery may take.
pub(crate) fn wait_for<T>(what: &str, ask: impl FnMut() -> Option<T>) -> Result<T> {
    eventually_within(RECOVERY, what, ask)
}

/// Returns a port that is free now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A running program. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program and appends its output to the file `log`.
    pub(crate) fn start(name: &'static str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn();
        let child = child.with_context(|| format!("cannot start {name}: {command:?}"))?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// Waits until the program answers a request at `url` with any status.
    pub(crate) fn wait_until_up(mut self, url: &str) -> Result<Self> {
        let name = self.name;
        let is_up = eventually(&format!("{name} answers at {url}"), || {
            if self.child.try_wait().ok().flatten().is_some() {
                return Some(false);
            }
            let answer = Client::connect(url).and_then(|mut client| client.get("/"));
            answer.is_ok().then_some(true)
        })?;
        ensure!(is_up, "{name} exited at once; see {}", self.log.display());
        Ok(self)
    }

    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        ensure!(status.success(), "kill {signal} of {} failed", self.name);
        Ok(())
    }

    /// Sends SIGTERM and waits until the program exits with code 0.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.signal("-TERM")?;
        let status = wait_for("the program exits after SIGTERM", || self.child.try_wait().ok().flatten())?;
        ensure!(status.success(), "{} exited with {status}; see {}", self.name, self.log.display());
        Ok(())
    }

    /// Sends SIGKILL and waits until the program is gone.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if the process has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a GET request and returns the JSON of its response, which must have status 200.
pub(crate) fn get_json(url: &str, path: &str) -> Result<Json> {
    let answer = Client::connect(url)?.get(path)?;
    ensure!(answer.status == 200, "GET {url}{path}: {} {}", answer.status, answer.text());
    Ok(answer.json())
}

/// Percent-encodes a part of a URL's query.
pub(crate) fn encoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
