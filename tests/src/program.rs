//! The `telemetry` program, built, started and ended.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};

use anyhow::{Context as _, Result, bail, ensure};

use crate::wait::{DEADLINE, eventually};

/// Cargo's target folder.
pub fn target_dir() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace");
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root.join(dir),
        None => root.join("target"),
    }
}

/// Builds the program, once per process, and says where it is.
///
/// # Errors
///
/// When cargo can't build it.
pub fn build() -> Result<PathBuf> {
    static BUILT: OnceLock<bool> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--package", "telemetry-server"]);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).status().is_ok_and(|status| status.success())
    });
    ensure!(built, "cargo build --package telemetry-server failed");
    Ok(target_dir().join("debug/telemetry"))
}

/// How a server is started: like `telemetry serve`, on a port of its choice.
#[derive(Debug, Default)]
pub struct Settings {
    program: Option<PathBuf>,
    is_example: bool,
    arguments: Vec<std::ffi::OsString>,
    environment: Vec<(String, std::ffi::OsString)>,
}

impl Settings {
    /// Sqlite alone, its file in `folder`.
    pub fn sqlite_in(folder: &Path) -> Self {
        Self::default().variable("SQLITE_STORE_DIR", folder).variable("TELEMETRY_SINKS", "sqlite")
    }

    /// Another build of the program.
    #[must_use]
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = Some(program);
        self
    }

    /// An example that serves: as the server does, but by itself and not as a subcommand.
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

    /// Starts the server and waits until it says that it listens.
    ///
    /// # Errors
    ///
    /// When it ends before, or says nothing in time; the message holds what it printed.
    pub fn start(&self) -> Result<Server> {
        let mut command = self.command()?;
        if !self.arguments.iter().any(|argument| argument == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut child = command.spawn().with_context(|| format!("can't start {command:?}"))?;
        let stderr = child.stderr.take().context("stderr is piped")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (found, listening) = mpsc::sync_channel(1);
        let seen = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some((_, url)) = line.split_once("listening on ") {
                    // Only the first such line is waited for.
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
            Err(_) => bail!("the server does not listen; it printed:\n{}", server.printed().join("\n")),
        }
    }

    /// Starts a server that must refuse to run, and waits for its end.
    ///
    /// # Errors
    ///
    /// When it can't be started or does not end.
    pub fn refused(&self) -> Result<Ended> {
        let output = self.command()?.output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Ended { status: output.status, stderr })
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it printed on stderr.
    pub stderr: String,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    url: String,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Where it listens: `http://ADDR`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The lines it has printed on stderr.
    pub fn printed(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Kills it as `kill -9` does.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end with SIGTERM and waits for its end.
    ///
    /// # Errors
    ///
    /// When it does not end in time.
    pub fn stop(mut self) -> Result<Ended> {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        ensure!(kill.success(), "kill -TERM failed");
        let status = eventually("the server ends after SIGTERM", || self.child.try_wait().ok().flatten())?;
        Ok(Ended { status, stderr: self.printed().join("\n") })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
