//! Files that one process owns at a time, and that only their owner can read.
//!
//! A store's database, a sink's spool and a folder of datasets must never have two writers. [`FileLock`] guards a folder
//! with a lock file in it. [`DataFileLock`] guards a single file, under whatever name it is opened. Both are the
//! operating system's advisory locks. They end with their process, also after `kill -9`, so nothing stale needs
//! cleaning up.
//!
//! ```
//! use telemetry_files::{FileLock, LockError};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("data.lock");
//! let lock = FileLock::acquire(&path)?;
//! let Err(LockError::Held { holder }) = FileLock::acquire(&path) else { panic!("locked twice") };
//! assert_eq!(holder, Some(std::process::id()));
//! drop(lock);
//! FileLock::acquire(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod data_file;
mod lock_file;

use std::io;

pub use data_file::{DataFileLock, create_private, create_private_folder};
pub use lock_file::FileLock;

/// Why a lock was not acquired.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another open file holds the lock.
    #[error("locked by {}", describe(*.holder))]
    Held {
        /// The process that holds it, if that is known.
        holder: Option<u32>,
    },
    /// The file can't be opened or locked.
    #[error("can't open or lock the file")]
    Io(#[from] io::Error),
}

impl LockError {
    /// Returns the holder: `process 123 (telemetry)`. `None` if the lock is not held.
    pub fn holder(&self) -> Option<String> {
        match self {
            Self::Held { holder } => Some(describe(*holder)),
            Self::Io(_) => None,
        }
    }
}

/// Returns a process by its id and, where Linux tells it, its program: `process 123 (telemetry)`.
fn describe(holder: Option<u32>) -> String {
    let Some(id) = holder else { return "another process".to_owned() };
    match std::fs::read_to_string(format!("/proc/{id}/comm")) {
        Ok(program) => format!("process {id} ({})", program.trim()),
        Err(_) => format!("process {id}"),
    }
}
