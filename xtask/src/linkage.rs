//! Sinks are found by what the linker keeps. These programs show that it keeps them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{self, root};
use crate::new_sink;

/// A new sink and the example pass their tests; foreign sinks are found in debug builds, and with
/// `full` in every kind of build there is.
pub(crate) fn run(full: bool) -> Result<()> {
    let example = root().join("examples/third-party-sink");
    command::run(&mut cargo(&example, &["test", "--quiet", "--workspace"]))?;
    command::run(&mut cargo(
        &example,
        &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"],
    ))?;
    new_sink_passes()?;

    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    generate(folder)?;
    let profiles: &[&str] = if full { &["dev", "release", "fat"] } else { &["dev"] };
    for profile in profiles {
        command::run(&mut cargo(folder, &["build", "--quiet", "--workspace", "--profile", profile]))?;
        is_found(folder, profile)?;
        is_missed_with_the_line_to_write(folder, profile)?;
        clashes(folder, profile)?;
        is_in_the_library(profile)?;
    }
    command::run(&mut cargo(folder, &["test", "--quiet", "--package", "looks-empty"]))
}

/// A crate made by `new-sink` outside the workspace builds and passes at once.
fn new_sink_passes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    new_sink::run("held-out", Some(folder))?;
    command::run(&mut cargo(folder, &["test", "--quiet"]))?;
    command::run(&mut cargo(folder, &["fmt", "--check"]))?;
    command::run(&mut cargo(folder, &["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"]))
}

/// The crates that the checks need, in a workspace of their own.
fn generate(folder: &Path) -> Result<()> {
    const FOREIGN: &str = include_str!("../templates/linkage/foreign.rs.txt");
    const NAMES: &str = include_str!("../templates/linkage/names.rs.txt");
    const LIBRARY: &str = include_str!("../templates/linkage/library.rs.txt");
    const LOOKS_EMPTY: &str = include_str!("../templates/linkage/looks_empty.rs.txt");
    const WORKSPACE: &str = include_str!("../templates/linkage/workspace.toml");

    let path = |member: &str| new_sink::toml_string(&root().join(member));
    let workspace = WORKSPACE
        .replace("__CORE__", &path("telemetry-core"))
        .replace("__PROVIDER__", &path("telemetry-provider"));
    new_sink::write(folder, "Cargo.toml", &workspace)?;
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock"))?;

    let program = |link: &str| NAMES.replace("__LINK__", link);
    let package = |name: &str, file: &str, text: &str, rest: &str| {
        let manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n{rest}");
        new_sink::write(folder, &format!("{name}/Cargo.toml"), &manifest)?;
        new_sink::write(folder, &format!("{name}/{file}"), text)
    };
    let core = "[dependencies]\ntelemetry-core.workspace = true\n";
    let both = format!("{core}telemetry-provider.workspace = true\nforeign.workspace = true\n");
    package("foreign", "src/lib.rs", &FOREIGN.replace("__SUMMARY__", "the one"), core)?;
    package("twin", "src/lib.rs", &FOREIGN.replace("__SUMMARY__", "the other"), core)?;
    package("linked", "src/main.rs", &program("telemetry_provider::link_sinks!(foreign);"), &both)?;
    package("forgetful", "src/main.rs", &program(""), &both)?;
    package(
        "clash",
        "src/main.rs",
        &program("telemetry_provider::link_sinks!(foreign, twin);"),
        &format!("{both}twin.workspace = true\n"),
    )?;
    package("library", "src/lib.rs", LIBRARY, &format!("{both}[lib]\ncrate-type = [\"cdylib\"]\n"))?;
    package("looks-empty", "tests/registry.rs", LOOKS_EMPTY, &both)?;
    new_sink::write(folder, "looks-empty/src/lib.rs", "//! Nothing.\n")
}

/// A program that names the crate has its sink.
fn is_found(folder: &Path, profile: &str) -> Result<()> {
    let printed = command::output(&mut program(folder, "linked", profile))?;
    ensure!(printed.trim() == "console,foreign", "{profile}: the program has only {printed}");
    Ok(())
}

/// A program that only lists the crate in its Cargo.toml is told the line to write.
fn is_missed_with_the_line_to_write(folder: &Path, profile: &str) -> Result<()> {
    let said = refusal(&mut program(folder, "forgetful", profile))?;
    let expected = "telemetry_provider::link_sinks!(that_crate);";
    ensure!(said.contains(expected), "{profile}: the line to write is not in the error: {said}");
    Ok(())
}

/// Two sinks of one name are refused.
fn clashes(folder: &Path, profile: &str) -> Result<()> {
    let said = refusal(&mut program(folder, "clash", profile))?;
    ensure!(said.contains("two sinks are named `foreign`"), "{profile}: two sinks of one name: {said}");
    Ok(())
}

/// A library that another language loads has its sinks.
fn is_in_the_library(profile: &str) -> Result<()> {
    let folder = if profile == "dev" { "debug" } else { profile };
    let file = format!("{}library{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = target().join(folder).join(file);
    let script = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).sink_count())";
    let counted = command::output(Command::new("python3").args(["-c", script]).arg(library))?;
    ensure!(counted.trim() == "2", "{profile}: the library has {} sinks instead of 2", counted.trim());
    Ok(())
}

fn program(folder: &Path, package: &str, profile: &str) -> Command {
    cargo(folder, &["run", "--quiet", "--package", package, "--profile", profile])
}

/// What a program says that must fail.
fn refusal(command: &mut Command) -> Result<String> {
    let output = command.output().context("can't start cargo")?;
    if output.status.success() {
        bail!("a program that should have failed did not: {}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

/// A cargo command in a folder outside the workspace, whose builds share the workspace's target folder.
fn cargo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = command::cargo(arguments);
    command.current_dir(folder).env("CARGO_TARGET_DIR", target());
    command
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
