//! The files of a database: its lock, the write-ahead log beside it, and the file that its path names.

use std::path::{Path, PathBuf};

use telemetry_files::{DataFileLock, LockError};

use crate::error::OpenError;

/// Locks a database for its only writer, until the lock is dropped or the process ends.
pub(crate) fn lock(database: &Path) -> Result<DataFileLock, OpenError> {
    DataFileLock::acquire(database).map_err(|error| {
        let path = database.to_owned();
        match error {
            LockError::Held { .. } => OpenError::Locked { path, source: error },
            LockError::Io(source) => OpenError::Lock { path, source },
        }
    })
}

/// Returns the program that writes a database now: `process 123 (telemetry)`.
pub(crate) fn writer_of(database: &Path) -> Option<String> {
    DataFileLock::check(database).err().and_then(|error| error.holder())
}

/// Returns the bytes of the write-ahead log of a database.
pub(crate) fn log_size(database: &Path) -> u64 {
    std::fs::metadata(beside(database, "-wal")).map_or(0, |metadata| metadata.len())
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The device and inode of a file. Two files never have the same at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity(Option<(u64, u64)>);

impl FileIdentity {
    /// Returns the identity of the file that `path` names now.
    #[cfg(unix)]
    pub(crate) fn of(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self(std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino())))
    }

    /// Returns the same for every path: where this is not Unix, an open file can't be deleted or replaced.
    #[cfg(not(unix))]
    pub(crate) const fn of(_path: &Path) -> Self {
        Self(None)
    }
}
