//! Python's virtual environments in the target folder, one per set of packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{run, target_dir};

/// Creates a virtual environment with these packages, or reuses it, and returns its Python.
///
/// # Errors
///
/// If there is no Python of at least 3.12, or pip fails.
pub fn python_environment(name: &str, packages: &[&str]) -> Result<PathBuf> {
    python_environment_of(&interpreter()?, name, packages)
}

/// Creates a virtual environment of the Python `interpreter`.
///
/// # Errors
///
/// If the environment cannot be created or pip fails.
pub fn python_environment_of(interpreter: &Path, name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = target_dir().join("integration").join(name);
    let python = folder.join("bin/python");
    let marker = folder.join("complete");
    if marker.exists() {
        return Ok(python);
    }
    run(Command::new(interpreter).args(["-m", "venv", "--clear"]).arg(&folder))
        .context("cannot create a virtual environment (Debian: apt-get install python3-venv)")?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(packages))?;
    std::fs::write(&marker, packages.join("\n"))?;
    Ok(python)
}

/// Finds a Python of at least 3.12, which the client needs: `PYTHON`, then the path, then pyenv's versions.
fn interpreter() -> Result<PathBuf> {
    let named = std::env::var_os("PYTHON").map(PathBuf::from);
    let on_path = ["python3", "python3.12", "python3.13", "python3.14"].map(PathBuf::from);
    let mut candidates: Vec<PathBuf> = named.into_iter().chain(on_path).collect();
    if let Some(versions) = std::env::home_dir().and_then(|home| home.join(".pyenv/versions").read_dir().ok())
    {
        let mut found: Vec<PathBuf> =
            versions.flatten().map(|entry| entry.path().join("bin/python3")).collect();
        found.sort();
        candidates.extend(found);
    }
    let is_new_enough = |python: &PathBuf| {
        let script = "import sys; sys.exit(sys.version_info < (3, 12))";
        let output = Command::new(python).args(["-c", script]).output();
        output.is_ok_and(|output| output.status.success())
    };
    match candidates.into_iter().find(is_new_enough) {
        Some(python) => Ok(python),
        None => bail!("no Python of at least 3.12 found; set the variable PYTHON to one"),
    }
}
