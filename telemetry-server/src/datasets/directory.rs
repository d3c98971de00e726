//! Datasets as files of JSON Lines. An export appears whole or not at all: a copy of the file with the new rows
//! replaces the old file.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;
use telemetry_files::{FileLock, LockError};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;

use crate::error::ApiError;

/// Longest name of a dataset, in bytes.
const MAX_NAME: usize = 128;

/// An export to a dataset.
pub(super) struct Directory {
    target: PathBuf,
    temporary: NamedTempFile,
    file: tokio::fs::File,
    rows: usize,
    /// Excludes other processes until the end of the export.
    _lock: FileLock,
}

impl Directory {
    /// Locks the directory, and copies the dataset if there is one.
    pub(super) async fn open(directory: &Path, dataset_id: &str) -> Result<Self, ApiError> {
        let target = directory.join(file_name(dataset_id)?);
        let directory = directory.to_path_buf();
        let opened = blocking(move || {
            std::fs::create_dir_all(&directory)?;
            let lock = FileLock::acquire(&directory.join(".lock")).map_err(|error| match error {
                LockError::Io(error) => error,
                locked @ LockError::Held { .. } => io::Error::new(io::ErrorKind::ResourceBusy, locked),
            })?;
            let mut temporary = tempfile::Builder::new().prefix(".export-").tempfile_in(&directory)?;
            match File::open(&target) {
                Ok(mut old) => {
                    io::copy(&mut old, temporary.as_file_mut())?;
                    end_line(&mut old, temporary.as_file_mut())?;
                    temporary.as_file().set_permissions(old.metadata()?.permissions())?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            let file = temporary.as_file().try_clone()?;
            Ok((target, temporary, file, lock))
        });
        let (target, temporary, file, lock) = opened.await?;
        Ok(Self { target, temporary, file: tokio::fs::File::from_std(file), rows: 0, _lock: lock })
    }

    /// Adds rows to the copy.
    pub(super) async fn write(&mut self, rows: &[Value]) -> Result<(), ApiError> {
        let mut lines = Vec::new();
        for row in rows {
            lines.extend_from_slice(row.to_string().as_bytes());
            lines.push(b'\n');
        }
        self.rows += rows.len();
        self.file.write_all(&lines).await.map_err(|error| failed(&error))
    }

    /// Replaces the dataset by the copy.
    pub(super) async fn finish(mut self) -> Result<(), ApiError> {
        if self.rows == 0 {
            return Ok(());
        }
        self.file.flush().await.map_err(|error| failed(&error))?;
        blocking(move || {
            self.temporary.as_file().sync_all()?;
            let directory = self.target.parent().map(Path::to_path_buf);
            self.temporary.persist(&self.target)?;
            // The rename is on disk once the directory is.
            directory.map_or(Ok(()), |directory| File::open(directory)?.sync_all())
        })
        .await
    }
}

/// Ends the last line if another program has not done so, so that the next row starts on a new line.
fn end_line(old: &mut File, new: &mut File) -> io::Result<()> {
    let mut last = [b'\n'];
    if old.metadata()?.len() > 0 {
        old.seek(SeekFrom::End(-1))?;
        old.read_exact(&mut last)?;
    }
    if last == [b'\n'] { Ok(()) } else { new.write_all(b"\n") }
}

/// Runs file operations on a thread for blocking work.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| failed(&error)),
        Err(_) => Err(ApiError::shutting_down()),
    }
}

fn failed(error: &io::Error) -> ApiError {
    ApiError::export_failed("the dataset can't be written", error)
}

/// Returns the file name of a dataset. It can name no file outside the directory.
fn file_name(dataset_id: &str) -> Result<String, ApiError> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if dataset_id.is_empty() || dataset_id.starts_with('.') || !dataset_id.chars().all(is_valid) {
        let detail = format!(
            "invalid dataset_id `{}`: expected letters, digits and characters of `-_.`, not starting with a dot",
            dataset_id.escape_debug()
        );
        return Err(ApiError::bad_request(detail));
    }
    if dataset_id.len() > MAX_NAME {
        return Err(ApiError::bad_request(format!("dataset_id is longer than {MAX_NAME} characters")));
    }
    Ok(format!("{dataset_id}.jsonl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_id_names_no_file_outside_the_directory() {
        for name in ["spans", "a.b-c_D9", &"x".repeat(128)] {
            assert_eq!(file_name(name).unwrap(), format!("{name}.jsonl"));
        }
        for name in ["", ".", "..", ".hidden", "../x", "a/b", "a\\b", "a\0b", "ż", "a b", &"x".repeat(129)] {
            assert!(file_name(name).is_err(), "{name:?}");
        }
    }
}
