//! Arize Phoenix as a peer: a product that receives OTLP and stores spans in SQLite.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use telemetry_tests::Client;

/// Phoenix takes this long to start at most, and as long to store what it has taken.
const DEADLINE: Duration = Duration::from_secs(180);
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

    /// Waits until so many spans are in its database: it answers before it stores.
    pub(crate) fn wait_for(&self, spans: u64) -> Result<()> {
        let file = self.folder.path().join("phoenix.db");
        let database = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let wanted = i64::try_from(spans)?;
        let mut stored: i64 = 0;
        let all = wait_until(|| {
            let counted = database.query_row("SELECT count(*) FROM spans", [], |row| row.get(0));
            stored = counted.unwrap_or(stored);
            stored >= wanted
        });
        ensure!(all, "Phoenix has stored {stored} of {spans} spans");
        Ok(())
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
