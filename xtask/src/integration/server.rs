//! A `telemetry serve` of one's own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo, run, target_dir};

/// Builds the program and says where it is.
pub(crate) fn build() -> Result<PathBuf> {
    run(&mut cargo(&["build", "--package", "telemetry-server"]))?;
    Ok(target_dir().join("debug/telemetry"))
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Starts the program on a port of its choice and waits until it says that it listens.
    pub(crate) fn start(program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("can't start {}", program.display()))?;
        let stderr = child.stderr.take().context("stderr is piped")?;
        let (found, listening) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                match line.split_once("listening on ") {
                    // Later lines only: the receiver has what it waits for.
                    Some((_, url)) => drop(found.try_send(url.trim().to_owned())),
                    None => eprintln!("  server: {line}"),
                }
            }
        });
        match listening.recv_timeout(Duration::from_secs(30)) {
            Ok(url) => Ok(Self { child, url }),
            Err(_) => {
                child.kill()?;
                child.wait()?;
                bail!("the server did not say `listening on …` within 30 s")
            }
        }
    }

    /// Where it listens, `http://ADDR`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Asks it to end and checks that it does, with exit code 0.
    pub(crate) fn stop(mut self) -> Result<()> {
        run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() { Ok(()) } else { bail!("the server ended with {status}") };
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        bail!("the server did not end within 15 s of SIGTERM")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended after `stop`; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
