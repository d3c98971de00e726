//! Locks on a file beside the data, which names its holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use crate::LockError;

/// An exclusive lock on a folder's lock file, released when dropped or when the process ends.
///
/// The file holds the id of the process that locked it last, for people who ask who that is.
#[derive(Debug)]
pub struct FileLock(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

impl FileLock {
    /// Creates the lock file at `path` if it is missing, and locks it without waiting.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] if the file is locked already, by this process or another, and
    /// [`LockError::Io`] if it can't be opened or locked.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let mut file =
            private(OpenOptions::new().create(true).truncate(false).read(true).write(true)).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                // Only people read it: without it the lock works all the same.
                let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                Ok(Self(file))
            }
            Err(TryLockError::WouldBlock) => Err(LockError::Held { holder: process_id(&mut file) }),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Checks the lock at `path` without taking it.
    ///
    /// # Errors
    ///
    /// As [`FileLock::acquire`]. A lock file that does not exist is not an error: nobody holds it.
    pub fn check(path: &Path) -> Result<(), LockError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // Shared, so that two checks at the same time do not take each other for a holder.
        match file.try_lock_shared() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(LockError::Held { holder: process_id(&mut file) }),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }
}

/// Makes files that are created readable for their owner alone.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Reads the process id that the holder wrote.
fn process_id(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_takes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert!(FileLock::check(&path).is_ok());
        let lock = FileLock::acquire(&path).unwrap();
        assert!(matches!(FileLock::check(&path), Err(LockError::Held { holder: Some(_) })));
        drop(lock);
        assert!(FileLock::check(&path).is_ok());
        assert!(FileLock::acquire(&path).is_ok());
    }

    #[test]
    fn a_lock_file_that_can_t_be_made_is_an_error() {
        let error = FileLock::acquire(Path::new("/nowhere/at/all.lock")).unwrap_err();
        assert!(matches!(error, LockError::Io(_)), "{error:?}");
    }
}
