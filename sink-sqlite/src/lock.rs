//! One writer per file: a lock file beside it, held while the sink lives.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::OpenError;

/// The lock; released when dropped, also by the operating system when the program dies.
#[derive(Debug)]
pub(crate) struct WriterLock(#[expect(dead_code, reason = "held for its lock")] File);

impl WriterLock {
    /// Takes the lock of a database.
    pub(crate) fn take(database: &Path) -> Result<Self, OpenError> {
        let path = lock_path(database);
        let failed = |source| OpenError::Lock { path: database.to_owned(), source };
        let options = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = options.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                // For people only: which process it is.
                let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                Ok(Self(file))
            }
            Err(TryLockError::WouldBlock) => {
                let holder =
                    process(&mut file).map(|process| format!(" (process {process})")).unwrap_or_default();
                Err(OpenError::Locked { path: database.to_owned(), holder })
            }
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Who holds the lock of a database, without taking it: `process 123`.
    pub(crate) fn holder(database: &Path) -> Option<String> {
        let mut file = File::open(lock_path(database)).ok()?;
        // Shared, for a moment: someone who starts just then is told that it is in use.
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)).then(|| {
            process(&mut file).map_or_else(|| "another program".to_owned(), |id| format!("process {id}"))
        })
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

/// The process that holds the lock, as it says itself.
fn process(file: &mut File) -> Option<String> {
    let mut process = String::new();
    file.read_to_string(&mut process).ok()?;
    let process = process.trim();
    (!process.is_empty()).then(|| process.to_owned())
}
