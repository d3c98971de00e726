//! The official OpenTelemetry SDKs of Python and JavaScript send; every query route is asked for it.
//!
//! In the middle of each sender's work the server is killed and started again on the same port: what
//! was acknowledged is there, and cumulative metrics count nothing twice.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use telemetry_tests::{Server, Settings, target_dir};

use crate::command::{self, root};
use crate::python;

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

pub(crate) fn run() -> Result<()> {
    let folder = target_dir().join("integration/sdk-store");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let python = python::environment("sdk-python", PYTHON)?;
    let packages = node_packages()?;
    let scripts = root().join("tests/otlp");
    let mut server = Settings::sqlite_in(&folder).start()?;
    let address = server.url().trim_start_matches("http://").to_owned();
    let senders = [("python", ""), ("node", "protobuf"), ("node", "json")];
    for (program, encoding) in senders {
        let mut sender = if program == "python" { Command::new(&python) } else { Command::new("node") };
        sender.arg(scripts.join(if program == "python" { "send.py" } else { "send.mjs" }));
        sender.arg(server.url()).arg(encoding).current_dir(&packages);
        // Variables of whoever runs this must not steer the SDKs.
        let steering = std::env::vars_os().map(|(name, _)| name);
        for name in steering.filter(|name| name.to_string_lossy().starts_with("OTEL_")) {
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
    let ended = server.stop()?;
    ensure!(ended.status.success(), "the server ended with {}:\n{}", ended.status, ended.stderr);
    Ok(())
}

/// The folder that has the JavaScript packages.
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
    command::run(install.current_dir(&folder))
        .context("the JavaScript SDK can't be installed (Debian: apt-get install nodejs npm)")?;
    std::fs::write(&marker, JAVASCRIPT.join("\n"))?;
    Ok(folder)
}

/// Lets a sender do its first half, restarts the server, lets it do the rest; what it sent is its last line.
fn send(
    sender: &mut Command,
    server: Server,
    restart: impl FnOnce(Server) -> Result<Server>,
) -> Result<(Server, String)> {
    eprintln!("$ {sender:?}");
    let mut child =
        sender.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("can't start the sender")?;
    let outcome = talk(&mut child, server, restart);
    if outcome.is_err() {
        // It may wait for a line that never comes.
        let _ = child.kill();
    }
    let status = child.wait()?;
    let (server, sent) = outcome?;
    ensure!(status.success(), "the sender ended with {status}");
    Ok((server, sent))
}

fn talk(
    child: &mut Child,
    server: Server,
    restart: impl FnOnce(Server) -> Result<Server>,
) -> Result<(Server, String)> {
    let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
    let Some(Ok(_)) = lines.next() else { bail!("the sender ended before it had sent anything") };
    let server = restart(server)?;
    writeln!(child.stdin.take().context("stdin is piped")?)?;
    match lines.map_while(Result::ok).last() {
        Some(sent) => Ok((server, sent)),
        None => bail!("the sender ended without saying what it sent"),
    }
}

fn check(python: &Path, scripts: &Path, server: &Server, sent: &str) -> Result<()> {
    let mut check = Command::new(python);
    let mut child = check.arg(scripts.join("check.py")).arg(server.url()).stdin(Stdio::piped()).spawn()?;
    child.stdin.take().context("stdin is piped")?.write_all(sent.as_bytes())?;
    let status = child.wait()?;
    ensure!(status.success(), "the check failed ({status})");
    Ok(())
}
