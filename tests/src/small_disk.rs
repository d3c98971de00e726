//! A small disk that a test can fill and empty.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::command::build;
use crate::program::Server;

/// Bytes on the disk.
const SIZE: usize = 4 << 20;
/// Bytes of the largest file if a limit on file sizes stands in for the disk.
const FILE: &str = "65536";

/// A small disk: a tmpfs, or a limit on the size of the server's files if the user may not mount one.
#[derive(Debug)]
pub enum SmallDisk {
    /// A tmpfs that is mounted at this path.
    Mounted(PathBuf),
    /// A limit on file sizes.
    Limited,
}

impl SmallDisk {
    /// Mounts the disk at an empty folder, or falls back to a limit.
    ///
    /// # Errors
    ///
    /// If there is no program `mount` (Debian: mount).
    #[expect(clippy::print_stderr, reason = "a test prints which of the two it uses")]
    pub fn at(folder: &Path) -> Result<Self> {
        let size = format!("size={SIZE}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).output()?;
        if mounted.status.success() {
            return Ok(Self::Mounted(folder.to_owned()));
        }
        let reason = String::from_utf8_lossy(&mounted.stderr);
        eprintln!("no tmpfs ({}): files are limited to {FILE} bytes instead", reason.trim());
        Ok(Self::Limited)
    }

    /// Writes a script into `folder` that runs the server and ignores SIGXFSZ, so that a file at its limit
    /// does not kill it.
    ///
    /// # Errors
    ///
    /// If the server cannot be built or the script cannot be written.
    pub fn program(folder: &Path) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let script = folder.join("telemetry.sh");
        let program = build()?;
        fs::write(&script, format!("#!/bin/sh\ntrap '' XFSZ\nexec '{}' \"$@\"\n", program.display()))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(script)
    }

    /// Fills the disk.
    ///
    /// # Errors
    ///
    /// If there is neither a tmpfs nor the program `prlimit` (Debian: util-linux).
    pub fn fill(&self, server: &Server) -> Result<()> {
        match self {
            Self::Mounted(folder) => {
                let filled = fs::write(folder.join("filler"), vec![0; SIZE]);
                ensure!(filled.is_err(), "the disk is larger than it should be");
                Ok(())
            }
            Self::Limited => limit(server, FILE),
        }
    }

    /// Makes room on the disk again.
    ///
    /// # Errors
    ///
    /// As [`fill`](Self::fill).
    pub fn empty(&self, server: &Server) -> Result<()> {
        match self {
            Self::Mounted(folder) => Ok(fs::remove_file(folder.join("filler"))?),
            Self::Limited => limit(server, "unlimited"),
        }
    }
}

fn limit(server: &Server, bytes: &str) -> Result<()> {
    let mut set = Command::new("prlimit");
    set.arg(format!("--pid={}", server.id())).arg(format!("--fsize={bytes}:unlimited"));
    let status = set.status().context("prlimit is needed (Debian: util-linux)")?;
    ensure!(status.success(), "prlimit failed ({status}), and there is no tmpfs: the disk cannot be filled");
    Ok(())
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Self::Mounted(folder) = self {
            // Lazily, because the server may still have files open.
            let _ = Command::new("umount").arg("-l").arg(folder).status();
        }
    }
}
