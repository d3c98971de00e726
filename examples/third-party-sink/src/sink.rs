//! The sink: appends batches to the files.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use telemetry_core::{Batch, Sink, SinkError, Written};

use crate::Config;
use crate::files::Files;
use crate::line::line;

/// Appends signals to files of JSON lines, one batch at a time.
///
/// It blocks its thread while it writes. This is allowed, because every sink has its own thread.
#[derive(Debug)]
pub struct NdjsonSink {
    files: Files,
    sync: bool,
    path: PathBuf,
}

impl NdjsonSink {
    /// Opens the file.
    ///
    /// # Errors
    ///
    /// A [`SinkError`] if the file can't be opened, or another process writes to it.
    pub fn open(config: Config) -> Result<Self, SinkError> {
        let Config { path, max_file_size, max_files, sync } = config;
        let files = Files::open(path.clone(), max_file_size, max_files).map_err(|error| {
            let message = match error.kind() {
                io::ErrorKind::WouldBlock => "another process writes to the file",
                _ => "can't open the file",
            };
            SinkError::close(message).with("path", path.display()).source(error)
        })?;
        Ok(Self { files, sync, path })
    }

    /// Returns an error that makes the worker retry: a full disk or a missing folder may be repaired.
    fn retry(&self, message: &'static str, cause: io::Error) -> SinkError {
        SinkError::retry(message).with("path", self.path.display()).source(cause)
    }

    fn sync(&mut self) -> Result<(), SinkError> {
        self.files.sync().map_err(|cause| self.retry("can't sync the file", cause))
    }
}

#[async_trait]
impl Sink for NdjsonSink {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let mut text = String::new();
        for signal in batch.iter() {
            let line = line(signal)
                .map_err(|cause| SinkError::reject("a signal can't be written as JSON").source(cause))?;
            text.push_str(&line.unwrap_or_default());
        }
        if text.is_empty() {
            return Ok(batch.delivered());
        }
        // This appends all lines or none, without an await, so a retry or a cancelled write repeats no line.
        self.files.append(text.as_bytes()).map_err(|cause| self.retry("can't append to the file", cause))?;
        if self.sync {
            // The lines are in the file, but not yet on the disk.
            self.sync().map_err(|error| error.stored(batch.len()))?;
        }
        Ok(batch.delivered())
    }

    async fn flush(&mut self) -> Result<(), SinkError> {
        self.sync()
    }

    async fn shutdown(mut self: Box<Self>) -> Result<(), SinkError> {
        self.sync()
    }
}
