//! The `sqlite3` program: another reader of the database, and an older one than ours.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Runs SQL on a database with the `sqlite3` program, reading only; gives what it prints.
///
/// # Errors
///
/// When the program is missing (Debian: `apt-get install sqlite3`) or the SQL fails.
pub fn sqlite3(database: &Path, sql: &str) -> Result<String> {
    run(Command::new("sqlite3").arg("-readonly").arg(database).arg(sql))
}

/// Runs SQL that writes.
///
/// # Errors
///
/// As [`sqlite3`].
pub fn sqlite3_write(database: &Path, sql: &str) -> Result<String> {
    run(Command::new("sqlite3").arg(database).arg(sql))
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().context("can't run sqlite3; is it installed?")?;
    ensure!(output.status.success(), "sqlite3: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
