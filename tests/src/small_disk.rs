//! A disk that a test fills and empties.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::program::Server;

/// Bytes on it.
const SIZE: usize = 4 << 20;
/// The largest file, where a limit stands in for a disk.
const FILE: &str = "65536";

/// A small disk: a tmpfs, or where only the superuser may mount one, a limit on the size of the server's files.
#[derive(Debug)]
pub enum SmallDisk {
    /// A tmpfs, mounted there.
    Mounted(PathBuf),
    /// No disk at all.
    Limited,
}

impl SmallDisk {
    /// Puts it into a folder, which is empty.
    ///
    /// # Errors
    ///
    /// Without `mount` (Debian: mount).
    #[expect(clippy::print_stderr, reason = "a test says which of the two it had")]
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

    /// A program in `folder` that runs the server; a file that grows too large does not end it.
    ///
    /// # Errors
    ///
    /// When the server can't be built, or the folder not written to.
    pub fn program(folder: &Path) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let script = folder.join("telemetry.sh");
        let program = crate::program::build()?;
        fs::write(&script, format!("#!/bin/sh\ntrap '' XFSZ\nexec '{}' \"$@\"\n", program.display()))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(script)
    }

    /// The disk fills up.
    ///
    /// # Errors
    ///
    /// Where there is no disk, without `prlimit` (Debian: util-linux).
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

    /// There is room again.
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
    ensure!(status.success(), "without a tmpfs and without a limit the disk can't be filled");
    Ok(())
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Self::Mounted(folder) = self {
            // Lazily: the server may still hold its files.
            let _ = Command::new("umount").arg("-l").arg(folder).status();
        }
    }
}
