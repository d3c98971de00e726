//! Appends batches.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use telemetry_core::{Batch, Sink, SinkError, Written};

use crate::Config;
use crate::files::Files;
use crate::line::line;

/// Appends signals to files of JSON lines, a batch at a time.
///
/// It blocks its thread while it writes, which is its own: the pipeline gives each sink one.
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
    /// A [`SinkError`] when it can't be opened, or another process has it open.
    pub fn open(config: Config) -> Result<Self, SinkError> {
        let Config { path, max_file_size, max_files, sync } = config;
        let files = Files::open(path.clone(), max_file_size, max_files).map_err(|error| {
            let message = match error.kind() {
                io::ErrorKind::WouldBlock => "another process writes the file",
                _ => "can't open the file",
            };
            SinkError::close(message).with("path", path.display()).source(error)
        })?;
        Ok(Self { files, sync, path })
    }

    /// A full disk empties and a folder comes back: everything may pass, and the worker waits for it.
    fn error(&self, message: &'static str, cause: io::Error) -> SinkError {
        SinkError::retry(message).with("path", self.path.display()).source(cause)
    }

    fn synced(&mut self) -> Result<(), SinkError> {
        self.files.sync().map_err(|cause| self.error("can't bring the file to the disk", cause))
    }
}

#[async_trait]
impl Sink for NdjsonSink {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let mut text = String::new();
        for signal in batch.iter() {
            let line =
                line(signal).map_err(|cause| SinkError::reject("a signal has no JSON form").source(cause))?;
            text.push_str(&line.unwrap_or_default());
        }
        if text.is_empty() {
            return Ok(batch.delivered());
        }
        // All or nothing, and no await in between: neither a retry nor a cancelled write doubles a line.
        self.files.append(text.as_bytes()).map_err(|cause| self.error("can't append to the file", cause))?;
        if self.sync {
            // The lines are there; only the disk has not confirmed them.
            self.synced().map_err(|error| error.stored(batch.len()))?;
        }
        Ok(batch.delivered())
    }

    async fn flush(&mut self) -> Result<(), SinkError> {
        self.synced()
    }

    async fn shutdown(mut self: Box<Self>) -> Result<(), SinkError> {
        self.synced()
    }
}
