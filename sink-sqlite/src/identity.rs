//! Whether a path still names the file that was opened.

use std::path::Path;

/// The device and number of a file; two different files never have the same at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity(Option<(u64, u64)>);

impl FileIdentity {
    /// Of the file that `path` names now.
    pub(crate) fn of(path: &Path) -> Self {
        Self(numbers(path))
    }
}

#[cfg(unix)]
fn numbers(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Elsewhere an open file can't be deleted or replaced.
#[cfg(not(unix))]
fn numbers(_path: &Path) -> Option<(u64, u64)> {
    None
}
