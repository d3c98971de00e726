//! Checks that the linker keeps the registrations of sinks, in small programs of several kinds.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{self, root, target_dir};
use crate::new_sink;

/// Tests a generated sink and the example, and checks that foreign sinks are found in debug builds. With `full` also
/// in every other kind of build.
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
        linked_sink_is_found(folder, profile)?;
        missing_link_is_explained(folder, profile)?;
        duplicate_name_is_refused(folder, profile)?;
        library_has_its_sinks(profile)?;
    }
    command::run(&mut cargo(folder, &["test", "--quiet", "--package", "looks-empty"]))
}

/// Checks that a crate made by `new-sink` outside the workspace builds and passes its tests.
fn new_sink_passes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    new_sink::run("held-out", Some(folder))?;
    command::run(&mut cargo(folder, &["test", "--quiet"]))?;
    command::run(&mut cargo(folder, &["fmt", "--check"]))?;
    command::run(&mut cargo(folder, &["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"]))
}

/// Writes the crates that the checks need, in a workspace of their own.
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

/// Checks that a program that links the crate has its sink.
fn linked_sink_is_found(folder: &Path, profile: &str) -> Result<()> {
    let printed = command::output(&mut program(folder, "linked", profile))?;
    ensure!(
        printed.trim() == "console,foreign",
        "{profile}: the program has the sinks {printed}; expected console,foreign"
    );
    Ok(())
}

/// Checks the error of a program that lists the crate in its Cargo.toml and does not link it.
fn missing_link_is_explained(folder: &Path, profile: &str) -> Result<()> {
    let printed = failure(&mut program(folder, "forgetful", profile))?;
    let expected = "telemetry_provider::link_sinks!(that_crate);";
    ensure!(printed.contains(expected), "{profile}: the error does not contain `{expected}`: {printed}");
    Ok(())
}

/// Checks that two sinks of one name are refused.
fn duplicate_name_is_refused(folder: &Path, profile: &str) -> Result<()> {
    let printed = failure(&mut program(folder, "clash", profile))?;
    ensure!(
        printed.contains("two sinks are named `foreign`"),
        "{profile}: wrong error for two sinks of one name: {printed}"
    );
    Ok(())
}

/// Checks that a library loaded by another language has its sinks.
fn library_has_its_sinks(profile: &str) -> Result<()> {
    let folder = if profile == "dev" { "debug" } else { profile };
    let file = format!("{}library{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = target_dir().join(folder).join(file);
    let script = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).sink_count())";
    let counted = command::output(Command::new("python3").args(["-c", script]).arg(library))?;
    ensure!(counted.trim() == "2", "{profile}: the library has {} sinks; expected 2", counted.trim());
    Ok(())
}

fn program(folder: &Path, package: &str, profile: &str) -> Command {
    cargo(folder, &["run", "--quiet", "--package", package, "--profile", profile])
}

/// Runs a program that must fail, and returns what it printed.
fn failure(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot start cargo")?;
    if output.status.success() {
        bail!("the program succeeded but should have failed: {}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

/// Returns a cargo command that runs in a folder outside the workspace and builds in the workspace's target folder.
fn cargo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = command::cargo(arguments);
    command.current_dir(folder).env("CARGO_TARGET_DIR", target_dir());
    command
}
