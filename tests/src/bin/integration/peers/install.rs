//! Finds or installs the peers. A variable can name the program; then the path is searched; then the package client
//! of its ecosystem installs it into the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use telemetry_tests::{output, python_environment_of, run, target_dir};

use super::go;

const COLLECTOR: &str = "v0.159.0";
const JAEGER: &str = "v1.76.0";
const ROTEL: &str = "rotel==0.0.1a15";

fn folder(name: &str) -> PathBuf {
    target_dir().join("integration").join(name)
}

/// Returns a program that is already there: named by `variable`, on the path, or built by an earlier run.
fn present(variable: &str, program: &str, built: &Path) -> Result<Option<PathBuf>> {
    if let Some(named) = std::env::var_os(variable).filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        ensure!(named.is_file(), "{variable} names {}, which is not a file", named.display());
        return Ok(Some(named));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file());
    Ok(on_path.or_else(|| built.is_file().then(|| built.to_owned())))
}

/// Returns the OpenTelemetry Collector, and builds it with its own builder if it is missing.
pub(crate) fn collector() -> Result<PathBuf> {
    let folder = folder("otelcol");
    let built = folder.join("build/otelcol");
    if let Some(program) = present("OTELCOL", "otelcol", &built)? {
        return Ok(program);
    }
    std::fs::create_dir_all(&folder)?;
    let core = |module: &str| format!("  - gomod: go.opentelemetry.io/collector/{module} {COLLECTOR}\n");
    let contrib = |module: &str| {
        format!("  - gomod: github.com/open-telemetry/opentelemetry-collector-contrib/{module} {COLLECTOR}\n")
    };
    let manifest = format!(
        "dist:\n  name: otelcol\n  output_path: {}\n  module: local/otelcol\n  version: 0.0.1\n\
         receivers:\n{}processors:\n{}{}exporters:\n{}{}{}{}",
        folder.join("build").display(),
        core("receiver/otlpreceiver"),
        core("processor/batchprocessor"),
        core("processor/memorylimiterprocessor"),
        core("exporter/debugexporter"),
        core("exporter/otlpexporter"),
        contrib("exporter/fileexporter"),
        contrib("exporter/prometheusexporter"),
    );
    let path = folder.join("manifest.yaml");
    std::fs::write(&path, manifest)?;
    let builder = format!("go.opentelemetry.io/collector/cmd/builder@{COLLECTOR}");
    let tool = go::tool().context("no Collector found; set OTELCOL to one, or install Go to build it")?;
    run(go::command(&tool, &folder)?.args(["install", &builder]))?;
    let mut build = Command::new(folder.join("builder"));
    go::set_environment(&mut build, &tool)?;
    run(build.current_dir(&folder).arg("--config").arg(&path))?;
    Ok(built)
}

/// Returns Jaeger, and builds it if it is missing.
pub(crate) fn jaeger() -> Result<PathBuf> {
    let folder = folder("jaeger");
    let built = folder.join("jaeger");
    if let Some(program) = present("JAEGER", "jaeger", &built)? {
        return Ok(program);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let tool = go::tool().context("no Jaeger found; set JAEGER to one, or install Go to build it")?;
    let go = |arguments: &[&str]| {
        go::command(&tool, &folder).map(|mut go| {
            go.args(arguments);
            go
        })
    };
    run(&mut go(&["mod", "init", "jaegerbuild"])?)?;
    let module = format!("github.com/jaegertracing/jaeger@{JAEGER}");
    let described = output(&mut go(&["mod", "download", "-json", &module])?)?;
    let described: serde_json::Value = serde_json::from_str(&described)?;
    let source = described["Dir"].as_str().context("go prints the module's folder")?;
    // Jaeger's own go.sum pins its dependencies, some of which the checksum database does not list.
    std::fs::write(folder.join("go.sum"), std::fs::read(Path::new(source).join("go.sum"))?)?;
    let package = "github.com/jaegertracing/jaeger/cmd/jaeger";
    run(&mut go(&["get", &format!("{package}@{JAEGER}")])?)?;
    run(&mut go(&["build", "-o", "jaeger", package])?)?;
    Ok(built)
}

/// Returns Prometheus, and unpacks it from Debian's package if it is missing.
pub(crate) fn prometheus() -> Result<PathBuf> {
    debian("PROMETHEUS", "prometheus")
}

/// Returns promtool, from the same package.
pub(crate) fn promtool() -> Result<PathBuf> {
    debian("PROMTOOL", "promtool")
}

fn debian(variable: &str, program: &str) -> Result<PathBuf> {
    let folder = folder("prometheus-package");
    let built = folder.join("usr/bin").join(program);
    if let Some(program) = present(variable, program, &built)? {
        return Ok(program);
    }
    let hint =
        || format!("no {program} found; set {variable} to one, or install Debian's package `prometheus`");
    unpack("prometheus", &folder).with_context(hint)?;
    ensure!(built.is_file(), hint());
    Ok(built)
}

/// Downloads a Debian package and unpacks its files below `folder`.
fn unpack(package: &str, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let download = || run(Command::new("apt-get").current_dir(folder).args(["download", package]));
    // A fresh machine has no package lists yet.
    download().or_else(|_| run(Command::new("apt-get").arg("update")).and_then(|()| download()))?;
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|suffix| suffix == "deb") {
            run(Command::new("dpkg-deb").arg("-x").arg(&path).arg(folder))?;
        }
    }
    Ok(())
}

/// Returns a command that runs rotel's agent, and installs its Python package if it is missing. The agent links
/// libpython of the Python it was built for: the system has it, or Debian has a package with it.
pub(crate) fn rotel() -> Result<Command> {
    let folder = folder("rotel");
    if let Some(program) = present("ROTEL", "rotel-agent", &folder.join("rotel-agent"))? {
        return Ok(Command::new(program));
    }
    let mut system = ["/usr/bin/python3", "python3"].map(PathBuf::from).into_iter();
    let version = |python: &PathBuf| {
        let script = "import sys; print('%d.%d' % sys.version_info[:2])";
        output(Command::new(python).args(["-c", script])).ok().map(|version| version.trim().to_owned())
    };
    let (python, version) = system
        .find_map(|python| version(&python).map(|version| (python, version)))
        .context("no python3 found to install rotel with; set ROTEL to its agent")?;
    let in_venv = python_environment_of(&python, "rotel", &[ROTEL])?;
    let script = "import pathlib, rotel; print(pathlib.Path(rotel.__file__).parent / 'rotel-agent')";
    let program = PathBuf::from(output(Command::new(in_venv).args(["-c", script]))?.trim());
    ensure!(program.is_file(), "{ROTEL} does not contain {}", program.display());
    let mut command = Command::new(&program);
    if output(Command::new(&program).arg("--help")).is_err() {
        let unpacked = target_dir().join("integration/libpython");
        unpack(&format!("libpython{version}"), &unpacked)?;
        let libraries = unpacked.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
        command.env("LD_LIBRARY_PATH", libraries);
    }
    Ok(command)
}
