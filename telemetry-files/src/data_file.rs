//! Locks on a data file itself.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::LockError;

/// The device and the inode of a file: the same for each of its names.
type Identity = (u64, u64);

/// The data files that this process has locked.
///
/// A process that closes a file loses all POSIX locks that it has on it, SQLite's too. So a file that is locked here
/// is not opened again.
static LOCKED: Mutex<Option<HashSet<Identity>>> = Mutex::new(None);

/// An exclusive lock on a data file, released when dropped or when the process ends.
///
/// The lock belongs to the file, not to a name of it. So a second process is refused also if it opens the file
/// through a symbolic link, a hard link or a bind mount. The file is neither read nor changed. The lock is the
/// operating system's `flock`, which does not interfere with SQLite's own locks.
///
/// ```
/// use telemetry_files::{DataFileLock, LockError};
///
/// let folder = tempfile::tempdir()?;
/// let (path, link) = (folder.path().join("data"), folder.path().join("link"));
/// std::fs::write(&path, "content")?;
/// std::fs::hard_link(&path, &link)?;
/// let lock = DataFileLock::acquire(&path)?;
/// assert!(matches!(DataFileLock::acquire(&link), Err(LockError::Held { .. })));
/// drop(lock);
/// DataFileLock::acquire(&link)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DataFileLock {
    identity: Identity,
    _file: File,
}

impl DataFileLock {
    /// Locks the file at `path` without waiting. The file must exist.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] if this process or another has locked the file, under whatever name, and
    /// [`LockError::Io`] if it can't be opened or locked.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let mut locked = LOCKED.lock().unwrap_or_else(PoisonError::into_inner);
        let locked = locked.get_or_insert_default();
        if locked.contains(&identity(&std::fs::metadata(path)?)) {
            return Err(LockError::Held { holder: Some(std::process::id()) });
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                let identity = identity(&file.metadata()?);
                locked.insert(identity);
                Ok(Self { identity, _file: file })
            }
            Err(TryLockError::WouldBlock) => Err(LockError::Held { holder: holder(&file) }),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Checks the lock on the file at `path` without taking it.
    ///
    /// # Errors
    ///
    /// As [`DataFileLock::acquire`]. A file that does not exist is not an error: nobody has locked it.
    pub fn check(path: &Path) -> Result<(), LockError> {
        let mut locked = LOCKED.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match std::fs::metadata(path) {
            Ok(found) if locked.get_or_insert_default().contains(&identity(&found)) => {
                return Err(LockError::Held { holder: Some(std::process::id()) });
            }
            Ok(_) => File::open(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // Shared, so that two checks at the same time do not take each other for a holder.
        match file.try_lock_shared() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(LockError::Held { holder: holder(&file) }),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Returns true if the lock is on the file that `path` names now.
    pub fn is_on(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|found| identity(&found) == self.identity)
    }
}

impl Drop for DataFileLock {
    fn drop(&mut self) {
        let mut locked = LOCKED.lock().unwrap_or_else(PoisonError::into_inner);
        locked.get_or_insert_default().remove(&self.identity);
    }
}

/// Creates an empty file at `path` that only its owner can read and write, unless there is one already. Creates missing
/// folders that only their owner can enter. Returns the path without symbolic links.
///
/// # Errors
///
/// Returns the error of the operating system if a folder or the file can't be created.
pub fn create_private(path: &Path) -> io::Result<PathBuf> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        create_private_folder(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    // A link to a file that does not exist can't be resolved: the file is created through it later.
    path.canonicalize().or_else(|_| Ok(path.to_owned()))
}

/// Creates a folder, and those above it that are missing. Only their owner can enter the new ones.
///
/// # Errors
///
/// Returns the error of the operating system if one can't be created.
pub fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(unix)]
fn identity(metadata: &std::fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.dev(), metadata.ino())
}

/// Returns the size and the time of change: elsewhere a file has no public identity.
#[cfg(not(unix))]
fn identity(metadata: &std::fs::Metadata) -> Identity {
    let created = metadata.created().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    (created.map_or(0, |time| time.as_secs()), created.map_or(0, |time| u64::from(time.subsec_nanos())))
}

/// Returns the process that has locked the file, from the list of locks of Linux.
fn holder(file: &File) -> Option<u32> {
    let (device, inode) = identity(&file.metadata().ok()?);
    // The list writes a device as `major:minor` in hexadecimal, then the inode.
    let major = (device >> 8 & 0xfff) | (device >> 32 & !0xfff);
    let minor = (device & 0xff) | (device >> 12 & !0xff);
    let place = format!("{major:02x}:{minor:02x}:{inode}");
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.contains(&"FLOCK") && words.contains(&"WRITE") && words.contains(&place.as_str()))
            .then(|| words.iter().rev().find_map(|word| word.parse().ok().filter(|&id: &u32| id > 1)))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_file_is_locked_under_each_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::write(&path, "content").unwrap();
        let [hard, symbolic] = ["hard", "symbolic"].map(|name| folder.path().join(name));
        std::fs::hard_link(&path, &hard).unwrap();
        std::os::unix::fs::symlink(&path, &symbolic).unwrap();
        let lock = DataFileLock::acquire(&path).unwrap();
        for name in [&path, &hard, &symbolic] {
            assert!(lock.is_on(name));
            let held = DataFileLock::acquire(name).unwrap_err();
            assert!(
                matches!(held, LockError::Held { holder: Some(id) } if id == std::process::id()),
                "{held}"
            );
            assert!(DataFileLock::check(name).is_err());
        }
        drop(lock);
        assert!(DataFileLock::check(&hard).is_ok());
        assert!(DataFileLock::acquire(&symbolic).is_ok());
    }

    #[test]
    #[cfg(unix)]
    fn what_is_created_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/deep/data");
        let created = create_private(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&created), mode(path.parent().unwrap())), (0o600, 0o700));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        create_private(&path).unwrap();
        assert_eq!(mode(&path), 0o640, "what exists keeps its mode");
    }
}
