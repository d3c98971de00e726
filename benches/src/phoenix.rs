//! Arize Phoenix as a peer: it receives OTLP and stores spans in SQLite.

use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use telemetry_tests::{Client, python_environment};

const PACKAGE: &str = "arize-phoenix==20.26.1";
/// How long Phoenix may take to start, and how long it may take to store what it received.
const DEADLINE: Duration = Duration::from_secs(180);
/// After this long without a new span Phoenix counts as done.
const QUIET: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(20);

/// A running Phoenix with its own database. Dropping it kills the process.
pub(crate) struct Phoenix {
    child: Child,
    folder: tempfile::TempDir,
    url: String,
}

impl Phoenix {
    /// Installs Phoenix into a virtual environment, starts it and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        let program = python_environment("phoenix", &[PACKAGE])?.with_file_name("phoenix");
        let folder = tempfile::tempdir()?;
        // Both are bound at the same time, so that the ports differ.
        let free = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let [http, grpc] = [free[0].local_addr()?.port(), free[1].local_addr()?.port()];
        drop(free);
        let log = File::create(folder.path().join("log"))?;
        let child = Command::new(&program)
            .arg("serve")
            .env("PHOENIX_WORKING_DIR", folder.path())
            .env("PHOENIX_HOST", "127.0.0.1")
            .env("PHOENIX_PORT", http.to_string())
            .env("PHOENIX_GRPC_PORT", grpc.to_string())
            .env("PHOENIX_TELEMETRY_ENABLED", "false")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let phoenix = Self { child, folder, url: format!("http://127.0.0.1:{http}") };
        let answers = || {
            let answer = Client::connect(&phoenix.url).and_then(|mut client| client.get("/healthz"));
            answer.is_ok_and(|answer| answer.status == 200)
        };
        let answered = wait_until(answers);
        let printed = || std::fs::read_to_string(phoenix.folder.path().join("log")).unwrap_or_default();
        ensure!(answered, "Phoenix does not answer; it printed:\n{}", printed());
        Ok(phoenix)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Waits until the database has this many spans, or until no more arrive. Phoenix answers before it stores.
    /// Returns how many spans there are and when the last one arrived.
    pub(crate) fn wait_for(&self, spans: u64) -> Result<(u64, Instant)> {
        let file = self.folder.path().join("phoenix.db");
        let database = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let wanted = i64::try_from(spans)?;
        let (mut stored, mut since) = (0_i64, Instant::now());
        wait_until(|| {
            let counted = database.query_row("SELECT count(*) FROM spans", [], |row| row.get(0));
            let now = counted.unwrap_or(stored);
            if now > stored {
                (stored, since) = (now, Instant::now());
            }
            stored >= wanted || since.elapsed() > QUIET
        });
        ensure!(stored > 0, "Phoenix has stored no span");
        Ok((u64::try_from(stored)?, since))
    }
}

/// Waits until `holds` returns true. Returns false after [`DEADLINE`].
fn wait_until(mut holds: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !holds() {
        if started.elapsed() > DEADLINE {
            return false;
        }
        std::thread::park_timeout(GLANCE);
    }
    true
}

impl Drop for Phoenix {
    fn drop(&mut self) {
        // Fails only if the process has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
