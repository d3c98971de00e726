//! Starts and stops the `telemetry` program and programs like it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::build;
use crate::wait::{DEADLINE, eventually};

/// How to start a server: by default `telemetry serve` on a free port.
#[derive(Debug, Default)]
pub struct Settings {
    program: Option<PathBuf>,
    is_example: bool,
    arguments: Vec<std::ffi::OsString>,
    environment: Vec<(String, std::ffi::OsString)>,
}

impl Settings {
    /// Returns settings for the sqlite sink alone, with its file in `folder`.
    pub fn sqlite_in(folder: &Path) -> Self {
        Self::default().variable("SQLITE_STORE_DIR", folder).variable("TELEMETRY_SINKS", "sqlite")
    }

    /// Uses another build of the program.
    #[must_use]
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = Some(program);
        self
    }

    /// Uses a program that serves without the subcommand `serve`.
    #[must_use]
    pub fn example(self, program: PathBuf) -> Self {
        Self { is_example: true, program: Some(program), ..self }
    }

    /// Adds arguments after `serve`.
    #[must_use]
    pub fn arguments<S: AsRef<OsStr>>(mut self, arguments: &[S]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    fn command(&self) -> Result<Command> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => build()?,
        };
        let mut command = Command::new(program);
        if !self.is_example {
            command.arg("serve");
        }
        command.args(&self.arguments).env_remove("OTEL_SERVICE_NAME").stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stderr(Stdio::piped());
        Ok(command)
    }

    /// Starts the server and waits until it prints that it listens.
    ///
    /// # Errors
    ///
    /// If it ends before or does not listen in time; the message contains what it printed.
    pub fn start(&self) -> Result<Server> {
        let mut command = self.command()?;
        if !self.arguments.iter().any(|argument| argument == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stderr = child.stderr.take().context("stderr is piped")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (found, listening) = mpsc::sync_channel(1);
        let seen = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some((_, url)) = line.split_once("listening on ") {
                    // Only the first such line is read.
                    let _ = found.try_send(url.trim().to_owned());
                }
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let mut server = Server { child, url: String::new(), lines };
        match listening.recv_timeout(DEADLINE) {
            Ok(url) => {
                server.url = url;
                Ok(server)
            }
            Err(_) => bail!("the server is not listening; it printed:\n{}", server.printed().join("\n")),
        }
    }

    /// Runs a server that must refuse to start, and waits until it exits.
    ///
    /// # Errors
    ///
    /// If the program cannot be run.
    pub fn refused(&self) -> Result<Ended> {
        let output = self.command()?.output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Ended { status: output.status, stderr })
    }
}

/// Exit status and output of a program.
#[derive(Debug)]
pub struct Ended {
    /// The exit status.
    pub status: ExitStatus,
    /// What the program printed on stderr.
    pub stderr: String,
}

/// A running server. Dropping it kills the process.
#[derive(Debug)]
pub struct Server {
    child: Child,
    url: String,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Returns the server's address as `http://ADDR`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the lines printed on stderr so far.
    pub fn printed(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Kills the process as `kill -9` does.
    ///
    /// # Errors
    ///
    /// If the operating system refuses.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM and waits until the process exits.
    ///
    /// # Errors
    ///
    /// If it does not exit in time.
    pub fn stop(self) -> Result<Ended> {
        self.stop_by("TERM")
    }

    /// Sends a signal, for example `HUP`, and waits until the server exits.
    ///
    /// # Errors
    ///
    /// As [`Self::stop`].
    pub fn stop_by(mut self, signal: &str) -> Result<Ended> {
        let kill = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status()?;
        ensure!(kill.success(), "kill -s {signal} failed");
        let status =
            eventually("the server exits after the signal", || self.child.try_wait().ok().flatten())?;
        Ok(Ended { status, stderr: self.printed().join("\n") })
    }

    /// Stops the server and checks that it exits with code 0 and without a panic.
    ///
    /// # Errors
    ///
    /// As [`Self::stop`], or if it exits with another code; the message contains what it printed.
    pub fn stop_cleanly(self) -> Result<()> {
        let Ended { status, stderr } = self.stop()?;
        ensure!(
            status.success() && !stderr.contains("panicked"),
            "the server exited with {status}:\n{stderr}"
        );
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if the process has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
