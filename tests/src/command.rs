//! Runs other programs and fails loudly when they do.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail, ensure};

/// Returns the root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace")
}

/// Returns cargo's target folder.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Creates the folder `target/integration/NAME`, or empties it.
///
/// # Errors
///
/// If the folder cannot be emptied or created.
pub fn empty_folder(name: &str) -> Result<PathBuf> {
    let folder = target_dir().join("integration").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Returns a cargo command that runs in the workspace's root.
pub fn cargo<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    command
}

/// Builds the server once per process and returns its program.
///
/// # Errors
///
/// If cargo fails.
pub fn build() -> Result<PathBuf> {
    static BUILT: OnceLock<bool> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let status = cargo(&["build", "--quiet", "--package", "telemetry-server"]).status();
        status.is_ok_and(|status| status.success())
    });
    ensure!(built, "cargo build --package telemetry-server failed");
    Ok(target_dir().join("debug/telemetry"))
}

/// Prints a command on stderr and runs it with its output shown.
///
/// # Errors
///
/// If the program cannot be started or fails.
#[expect(clippy::print_stderr, reason = "the user sees which command is running")]
pub fn run(command: &mut Command) -> Result<()> {
    let line = describe(command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if status.success() { Ok(()) } else { bail!("`{line}` failed ({status})") }
}

/// Runs a command and returns what it prints on stdout.
///
/// # Errors
///
/// If the program cannot be started, fails, or prints bytes that are not UTF-8.
pub fn output(command: &mut Command) -> Result<String> {
    let line = describe(command);
    let output = command.output().with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` printed bytes that are not UTF-8"))
}

/// Runs SQL on a database with the `sqlite3` program, which opens it for reading only. Returns what it prints.
///
/// # Errors
///
/// If the program is missing (Debian: `apt-get install sqlite3`) or the SQL fails.
pub fn sqlite3(database: &Path, sql: &str) -> Result<String> {
    Ok(output(Command::new("sqlite3").arg("-readonly").arg(database).arg(sql))?.trim_end().to_owned())
}

/// Runs SQL that writes, with the `sqlite3` program.
///
/// # Errors
///
/// As [`sqlite3`].
pub fn sqlite3_write(database: &Path, sql: &str) -> Result<()> {
    output(Command::new("sqlite3").arg(database).arg(sql)).map(drop)
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
