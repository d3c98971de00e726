//! The official OpenTelemetry SDKs of Python and JavaScript send, and every query route is checked.
//!
//! Halfway through each sender the server is killed and started again on the same port. Everything acknowledged
//! must still be there, and cumulative metrics must count nothing twice.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use telemetry_tests::{Server, Settings, empty_folder, python_environment, root, target_dir};

const PYTHON: &[&str] = &["opentelemetry-sdk==1.45.2", "opentelemetry-exporter-otlp-proto-http==1.45.2"];
const JAVASCRIPT: &[&str] = &[
    "@opentelemetry/api@1.9.1",
    "@opentelemetry/api-logs@0.223.1",
    "@opentelemetry/exporter-logs-otlp-http@0.223.1",
    "@opentelemetry/exporter-logs-otlp-proto@0.223.1",
    "@opentelemetry/exporter-metrics-otlp-http@0.223.0",
    "@opentelemetry/exporter-metrics-otlp-proto@0.223.0",
    "@opentelemetry/exporter-trace-otlp-http@0.223.1",
    "@opentelemetry/exporter-trace-otlp-proto@0.223.1",
    "@opentelemetry/resources@2.12.1",
    "@opentelemetry/sdk-logs@0.223.1",
    "@opentelemetry/sdk-metrics@2.12.1",
    "@opentelemetry/sdk-trace-node@2.12.0",
];

pub(super) fn run() -> Result<()> {
    let folder = empty_folder("sdk-store")?;
    let python = python_environment("sdk-python", PYTHON)?;
    let packages = node_packages()?;
    let scripts = root().join("tests/otlp");
    let mut server = Settings::sqlite_in(&folder).start()?;
    let address = server.url().trim_start_matches("http://").to_owned();
    let senders = [("python", ""), ("node", "protobuf"), ("node", "json")];
    for (program, encoding) in senders {
        let mut sender = if program == "python" { Command::new(&python) } else { Command::new("node") };
        sender.arg(scripts.join(if program == "python" { "send.py" } else { "send.mjs" }));
        sender.arg(server.url()).arg(encoding).current_dir(&packages);
        // The user's own variables must not change what the SDKs do.
        let variables = std::env::vars_os().map(|(name, _)| name);
        for name in variables.filter(|name| name.to_string_lossy().starts_with("OTEL_")) {
            sender.env_remove(name);
        }
        let restart = |server: Server| {
            server.kill()?;
            Settings::sqlite_in(&folder).arguments(&["--listen", &address]).start()
        };
        let sent;
        (server, sent) = send(&mut sender, server, restart)?;
        check(&python, &scripts, &server, &sent)?;
    }
    server.stop_cleanly()
}

/// Installs the JavaScript packages and returns their folder.
fn node_packages() -> Result<PathBuf> {
    let folder = target_dir().join("integration/sdk-javascript");
    let marker = folder.join("complete");
    if std::fs::read_to_string(&marker).is_ok_and(|found| found == JAVASCRIPT.join("\n")) {
        return Ok(folder);
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("package.json"), "{\"private\": true}\n")?;
    let mut install = Command::new("npm");
    install.args(["install", "--no-fund", "--no-audit", "--no-save", "--loglevel=error"]).args(JAVASCRIPT);
    telemetry_tests::run(install.current_dir(&folder))
        .context("the JavaScript SDK cannot be installed (Debian: apt-get install nodejs npm)")?;
    std::fs::write(&marker, JAVASCRIPT.join("\n"))?;
    Ok(folder)
}

/// Runs a sender and restarts the server halfway. Returns the sender's last line, which describes what it sent.
fn send(
    sender: &mut Command,
    server: Server,
    restart: impl FnOnce(Server) -> Result<Server>,
) -> Result<(Server, String)> {
    eprintln!("$ {sender:?}");
    let mut child =
        sender.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start the sender")?;
    let outcome = restart_halfway(&mut child, server, restart);
    if outcome.is_err() {
        // The sender may be waiting for a line that never comes.
        let _ = child.kill();
    }
    let status = child.wait()?;
    let (server, sent) = outcome?;
    ensure!(status.success(), "the sender exited with {status}");
    Ok((server, sent))
}

/// Waits for the sender's first half, restarts the server, and reads the sender's output to its end.
fn restart_halfway(
    child: &mut Child,
    server: Server,
    restart: impl FnOnce(Server) -> Result<Server>,
) -> Result<(Server, String)> {
    let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
    let Some(Ok(_)) = lines.next() else { bail!("the sender exited before it sent anything") };
    let server = restart(server)?;
    writeln!(child.stdin.take().context("stdin is piped")?)?;
    match lines.map_while(Result::ok).last() {
        Some(sent) => Ok((server, sent)),
        None => bail!("the sender exited without printing what it sent"),
    }
}

/// Compares what the server's query routes return with what was sent.
fn check(python: &Path, scripts: &Path, server: &Server, sent: &str) -> Result<()> {
    let mut check = Command::new(python);
    let mut child = check.arg(scripts.join("check.py")).arg(server.url()).stdin(Stdio::piped()).spawn()?;
    child.stdin.take().context("stdin is piped")?.write_all(sent.as_bytes())?;
    let status = child.wait()?;
    ensure!(status.success(), "the check failed ({status})");
    Ok(())
}
