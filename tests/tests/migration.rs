//! `kill -9` in the middle of a migration: the next start finishes it, and no row is lost.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use telemetry_tests::{Settings, build, eventually, sqlite3, sqlite3_write};

/// Spans added to the file of version 1. The migration reads all of them.
const SPANS: u64 = 300_000;
const ROUNDS: u64 = 8;

/// Writes a file of version 1 with many spans in one trace.
fn old(path: &Path) {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sink-sqlite/tests/data/v1.db");
    std::fs::copy(kept, path).unwrap();
    let rows = format!(
        "WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 99 + {SPANS}) \
         INSERT INTO span_row SELECT i, (SELECT min(id) FROM trace), i + 1000000, NULL, 'n', 0, 1, i, i + 1, 0, \
           json_object('n', i), 0, 1, NULL FROM n; \
         UPDATE meta SET next_span = 100 + {SPANS}; PRAGMA wal_checkpoint(TRUNCATE);"
    );
    sqlite3_write(path, &rows).unwrap();
}

#[test]
fn a_migration_that_is_killed_is_finished_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (master, database) = (folder.path().join("v1.db"), folder.path().join("trace_store.db"));
    old(&master);
    let spans = sqlite3(&master, "SELECT count(*) FROM spans").unwrap();
    let program = build().unwrap();
    let settings = Settings::sqlite_in(folder.path());
    let mut killed_before_its_end = 0;
    for round in 0..ROUNDS {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.path().join(format!("trace_store.db{suffix}")));
        }
        std::fs::copy(&master, &database).unwrap();
        let mut server = Command::new(&program)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("SQLITE_STORE_DIR", folder.path())
            .env("TELEMETRY_SINKS", "sqlite")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Once the writer has opened the file the migration begins.
        let opened = folder.path().join("trace_store.db-shm");
        eventually("the writer opens the file", || opened.exists().then_some(())).unwrap();
        std::thread::park_timeout(Duration::from_millis(round * round * 3));
        server.kill().unwrap();
        server.wait().unwrap();
        let version = sqlite3(&database, "PRAGMA user_version").unwrap();
        killed_before_its_end += u64::from(version == "1");
        assert_eq!(sqlite3(&database, "PRAGMA integrity_check").unwrap(), "ok", "round {round}");
        assert_eq!(sqlite3(&database, "SELECT count(*) FROM spans").unwrap(), spans, "round {round}");
        let server = settings.start().unwrap();
        assert!(server.stop().unwrap().status.success());
        assert_ne!(sqlite3(&database, "PRAGMA user_version").unwrap(), "1", "round {round}");
        assert_eq!(sqlite3(&database, "PRAGMA integrity_check").unwrap(), "ok", "round {round}");
        let finished = "SELECT count(*) FROM spans WHERE name = 'n'";
        assert_eq!(sqlite3(&database, finished).unwrap(), SPANS.to_string(), "round {round}");
    }
    println!("{killed_before_its_end} of {ROUNDS} migrations were killed before their end");
    assert!(killed_before_its_end > 0, "no migration was killed");
}
