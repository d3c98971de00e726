//! Finds a Go that is new enough: the installed one, or the official toolchain, which any Go can fetch as a module.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use telemetry_tests::{output, run};

/// The Go version that the peers' modules need.
const NEEDED: (u32, u32) = (1, 25);
/// The toolchain to use if the installed Go is older.
const TOOLCHAIN: &str = "v0.0.1-go1.26.8";

/// Returns a command that runs `tool` in `folder` and installs programs there.
pub(super) fn command(tool: &Path, folder: &Path) -> Result<Command> {
    let mut command = Command::new(tool);
    command.current_dir(folder).env("GOBIN", folder);
    set_environment(&mut command, tool)?;
    Ok(command)
}

/// Sets the environment of a command that starts Go itself, so that it finds `tool`.
pub(super) fn set_environment(command: &mut Command, tool: &Path) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = tool.parent().filter(|folder| !folder.as_os_str().is_empty()).map(Path::to_owned);
    let folders = own.into_iter().chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(folders)?);
    command.env("GOFLAGS", "-buildvcs=false -modcacherw").env("GOTOOLCHAIN", "local").env_remove("GOROOT");
    Ok(())
}

/// Returns the Go to use.
pub(super) fn tool() -> Result<PathBuf> {
    let go = || Command::new("go");
    let described = output(go().args(["env", "GOVERSION", "GOOS", "GOARCH"]).env("GOTOOLCHAIN", "local"))
        .context("Go is needed; any version will do, because it can fetch a newer one (Debian: golang-go)")?;
    let words: Vec<&str> = described.split_whitespace().collect();
    let [version, system, machine] = words[..] else {
        anyhow::bail!("`go env` printed {described:?}");
    };
    if is_new_enough(version) {
        return Ok("go".into());
    }
    let module = format!("golang.org/toolchain@{TOOLCHAIN}.{system}-{machine}");
    eprintln!("{version} is too old; using {module}");
    let mut download = go();
    download.args(["mod", "download", "-json", &module]).env("GOFLAGS", "-modcacherw");
    let downloaded: serde_json::Value = serde_json::from_str(&output(
        download.env("GOTOOLCHAIN", "local").current_dir(std::env::temp_dir()),
    )?)?;
    let folder = PathBuf::from(downloaded["Dir"].as_str().context("go prints the module's folder")?);
    // Files of a module are not executable when Go unpacks them.
    for part in ["bin", "pkg/tool"] {
        run(Command::new("chmod").args(["-R", "+x"]).arg(folder.join(part)))?;
    }
    let tool = folder.join("bin/go");
    ensure!(tool.is_file(), "{module} has no bin/go");
    Ok(tool)
}

/// Returns true if a version like `go1.26.8` is at least [`NEEDED`].
fn is_new_enough(version: &str) -> bool {
    let mut parts = version.trim_start_matches("go").split('.').map(|part| part.parse().ok());
    let (major, minor) = (parts.next().flatten(), parts.next().flatten());
    major.zip(minor).is_some_and(|version: (u32, u32)| version >= NEEDED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        for (version, expected) in [
            ("go1.25", true),
            ("go1.26.8", true),
            ("go2.0", true),
            ("go1.9", false),
            ("go1.19.8", false),
            ("", false),
        ] {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
    }
}
