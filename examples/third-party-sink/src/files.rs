//! The current file, and the older ones.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Appends to a file. Starts a new one when it is full or missing.
#[derive(Debug)]
pub(crate) struct Files {
    path: PathBuf,
    max_file_size: u64,
    max_files: u32,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    file: File,
    /// Length of all complete batches. Anything beyond it is the rest of a failed write.
    length: u64,
}

impl Files {
    /// Opens the file. Creates it and its folder if they are missing.
    pub(crate) fn open(path: PathBuf, max_file_size: u64, max_files: u32) -> io::Result<Self> {
        let current = Some(Current::open(&path)?);
        Ok(Self { path, max_file_size, max_files, current })
    }

    /// Appends all of `text`, or nothing if it fails.
    pub(crate) fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let current = self.current_for(text.len() as u64)?;
        current.truncate()?;
        let written = current.file.write_all(text);
        match written {
            Ok(()) => current.length += text.len() as u64,
            // If this fails too, the next append truncates first.
            Err(_) => drop(current.truncate()),
        }
        written
    }

    /// Waits until everything appended so far is on the disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.current.as_ref().map_or(Ok(()), |current| current.file.sync_data())
    }

    /// Returns the file for the next `bytes` bytes.
    fn current_for(&mut self, bytes: u64) -> io::Result<&mut Current> {
        if self.current.is_some() && !self.path.exists() {
            self.current = None;
        }
        let is_full = |current: &Current| current.length > 0 && current.length + bytes > self.max_file_size;
        if self.current.as_ref().is_some_and(is_full) {
            self.sync()?;
            self.rotate()?;
        }
        match self.current.take() {
            Some(current) => Ok(self.current.insert(current)),
            None => Ok(self.current.insert(Current::open(&self.path)?)),
        }
    }

    /// Renames each file to the next number. The oldest is overwritten.
    fn rotate(&mut self) -> io::Result<()> {
        if self.max_files <= 1 {
            fs::remove_file(&self.path)?;
        }
        for number in (1..self.max_files).rev() {
            let from = if number == 1 { self.path.clone() } else { numbered(&self.path, number - 1) };
            match fs::rename(&from, numbered(&self.path, number)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed?,
            }
        }
        self.current = None;
        Ok(())
    }
}

impl Current {
    fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::options().create(true).append(true).open(path)?;
        // A second writer would truncate lines of the first.
        file.try_lock().map_err(io::Error::from)?;
        let length = file.metadata()?.len();
        Ok(Self { file, length })
    }

    /// Removes the rest of a failed write.
    fn truncate(&self) -> io::Result<()> {
        if self.file.metadata()?.len() > self.length { self.file.set_len(self.length) } else { Ok(()) }
    }
}

/// Returns the path with a number: `telemetry.ndjson.2`.
pub(crate) fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_rotated_and_the_oldest_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        let mut files = Files::open(path.clone(), 4, 3).unwrap();
        for text in ["aa", "bb", "cc", "dddddd", "e", "ff"] {
            files.append(text.as_bytes()).unwrap();
        }
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&path), "eff");
        assert_eq!(read(&numbered(&path, 1)), "dddddd");
        assert_eq!(read(&numbered(&path, 2)), "cc");
        assert!(!numbered(&path, 3).exists());
    }

    #[test]
    fn a_single_file_starts_again_when_it_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        let mut files = Files::open(path.clone(), 2, 1).unwrap();
        files.append(b"aa").unwrap();
        files.append(b"bb").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "bb");
    }

    #[test]
    fn a_file_that_was_moved_away_is_created_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        let mut files = Files::open(path.clone(), 100, 2).unwrap();
        files.append(b"a").unwrap();
        fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        files.append(b"b").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "b");
    }

    #[test]
    fn the_rest_of_a_failed_write_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        let mut files = Files::open(path.clone(), 100, 2).unwrap();
        files.append(b"whole ").unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b"half").unwrap();
        files.append(b"next").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole next");
    }

    #[test]
    fn a_second_writer_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        let _first = Files::open(path.clone(), 100, 2).unwrap();
        assert_eq!(Files::open(path, 100, 2).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
