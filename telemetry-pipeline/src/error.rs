//! Errors of submitting and of starting.

use std::fmt;
use std::time::Duration;

use telemetry_core::{SinkError, Submission};

/// Why submissions were refused. The error returns them all.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The queue or a store is full.
    #[error("the telemetry queue is full; submit again later")]
    Full(Vec<Submission>),
    /// The pipeline is shutting down, or there is none.
    #[error("the telemetry pipeline is closed")]
    Closed(Vec<Submission>),
}

/// Why a pipeline did not start. It names every sink that failed.
#[derive(Debug)]
pub struct StartError {
    /// Name and failure of each sink.
    pub failures: Vec<(&'static str, StartFailure)>,
}

/// Why one sink did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartFailure {
    /// Its build function returned an error.
    #[error("{}", .0.full_text())]
    Build(SinkError),
    /// Its build function panicked.
    #[error("the sink panicked while it was built: {0}")]
    Panicked(String),
    /// Its build function took too long.
    #[error("the sink was not ready within {0:?}")]
    TimedOut(Duration),
    /// The operating system could not start a thread.
    #[error("can't start a thread")]
    Thread(#[source] std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, failure)) in self.failures.iter().enumerate() {
            write!(f, "{}sink `{name}`: {failure}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for StartError {}
