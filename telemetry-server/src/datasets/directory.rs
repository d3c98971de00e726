//! Datasets as files of JSON Lines. An export appears whole or not at all: the file with its new rows is
//! written beside the old one and takes its place.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;

use super::failed;
use crate::error::ApiError;

/// Bytes of a dataset's name at most.
const MAX_NAME: usize = 128;

/// A dataset that is being appended to.
pub(super) struct Directory {
    target: PathBuf,
    temporary: NamedTempFile,
    file: tokio::fs::File,
    rows: usize,
    /// Held against other processes until the end.
    _lock: File,
}

impl Directory {
    pub(super) async fn open(directory: &Path, dataset_id: &str) -> Result<Self, ApiError> {
        let target = directory.join(file_name(dataset_id)?);
        let directory = directory.to_path_buf();
        let opened = blocking(move || {
            std::fs::create_dir_all(&directory)?;
            let lock = File::create(directory.join(".lock"))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(std::io::ErrorKind::ResourceBusy.into()),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let mut temporary = tempfile::Builder::new().prefix(".export-").tempfile_in(&directory)?;
            match File::open(&target) {
                Ok(mut old) => {
                    std::io::copy(&mut old, temporary.as_file_mut())?;
                    end_line(&mut old, temporary.as_file_mut())?;
                    temporary.as_file().set_permissions(old.metadata()?.permissions())?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            let file = temporary.as_file().try_clone()?;
            Ok((target, temporary, file, lock))
        });
        let (target, temporary, file, lock) = opened.await?;
        Ok(Self { target, temporary, file: tokio::fs::File::from_std(file), rows: 0, _lock: lock })
    }

    pub(super) async fn write(&mut self, rows: &[Value]) -> Result<(), ApiError> {
        let mut lines = Vec::new();
        for row in rows {
            lines.extend_from_slice(row.to_string().as_bytes());
            lines.push(b'\n');
        }
        self.rows += rows.len();
        self.file.write_all(&lines).await.map_err(|error| failed("the dataset can't be written", &error))
    }

    /// Puts the new file in the place of the old one.
    pub(super) async fn finish(mut self) -> Result<(), ApiError> {
        if self.rows == 0 {
            return Ok(());
        }
        self.file.flush().await.map_err(|error| failed("the dataset can't be written", &error))?;
        blocking(move || {
            self.temporary.as_file().sync_all()?;
            let directory = self.target.parent().map(Path::to_path_buf);
            self.temporary.persist(&self.target)?;
            // The new name is on disk once its directory is.
            directory.map_or(Ok(()), |directory| File::open(directory)?.sync_all())
        })
        .await
    }
}

/// Ends the last line where another program has not: a row would stand on it.
fn end_line(old: &mut File, new: &mut File) -> std::io::Result<()> {
    let mut last = [b'\n'];
    if old.metadata()?.len() > 0 {
        old.seek(SeekFrom::End(-1))?;
        old.read_exact(&mut last)?;
    }
    if last == [b'\n'] { Ok(()) } else { new.write_all(b"\n") }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| failed("the dataset can't be written", &error)),
        Err(_) => Err(ApiError::unavailable("the server is shutting down")),
    }
}

/// The file of a dataset. Its name is the dataset's, and leads nowhere else.
fn file_name(dataset_id: &str) -> Result<String, ApiError> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if dataset_id.is_empty() || dataset_id.starts_with('.') || !dataset_id.chars().all(is_good) {
        let detail = format!(
            "invalid dataset_id `{}`: it is made of letters, digits and -_. and begins with no dot",
            dataset_id.escape_debug()
        );
        return Err(ApiError::bad_request(detail));
    }
    if dataset_id.len() > MAX_NAME {
        return Err(ApiError::bad_request(format!("dataset_id has more than {MAX_NAME} characters")));
    }
    Ok(format!("{dataset_id}.jsonl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        for name in ["spans", "a.b-c_D9", &"x".repeat(128)] {
            assert_eq!(file_name(name).unwrap(), format!("{name}.jsonl"));
        }
        for name in ["", ".", "..", ".hidden", "../x", "a/b", "a\\b", "a\0b", "ż", "a b", &"x".repeat(129)] {
            assert!(file_name(name).is_err(), "{name:?}");
        }
    }
}
