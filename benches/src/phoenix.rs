//! Arize Phoenix as a peer: a product that receives OTLP and stores spans in SQLite.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use telemetry_tests::Client;

/// Phoenix takes this long to start at most, and as long to store what it has taken; then it counts as is.
const DEADLINE: Duration = Duration::from_secs(180);
/// It stores no more once nothing has come for so long.
const QUIET: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(20);

/// A running Phoenix with a database of its own; killed when dropped.
pub(crate) struct Phoenix {
    child: Child,
    folder: tempfile::TempDir,
    url: String,
}

impl Phoenix {
    /// Starts `program`, Phoenix's own command, and waits until it answers.
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // Held until both are chosen, so that they differ.
        let free = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let [http, grpc] = [free[0].local_addr()?.port(), free[1].local_addr()?.port()];
        drop(free);
        let log = File::create(folder.path().join("log"))?;
        let child = Command::new(program)
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
            .with_context(|| format!("can't start {}", program.display()))?;
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

    /// Waits until so many spans are in its database, for it answers before it stores; or until there come no
    /// more. Says how many there are, and when the last came.
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
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
