//! What can go wrong at the door and at the start.

use std::fmt;
use std::time::Duration;

use telemetry_core::{SinkError, Submission};

/// Why a submission was refused. It comes back whole.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The queue, its byte budget or a store is full.
    #[error("the telemetry queue is full; submit again later")]
    Full(Vec<Submission>),
    /// The pipeline is shutting down, or there is none.
    #[error("the telemetry pipeline is closed")]
    Closed(Vec<Submission>),
}

/// Why a pipeline did not start: every sink that failed, together.
#[derive(Debug)]
pub struct StartError {
    /// Name and failure of each sink.
    pub failures: Vec<(&'static str, StartFailure)>,
}

/// Why one sink did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartFailure {
    /// Its build said no.
    #[error("{}", .0.full_text())]
    Build(SinkError),
    /// Its build panicked.
    #[error("the sink panicked while it was built: {0}")]
    Panicked(String),
    /// Its build took too long.
    #[error("the sink was not ready within {0:?}")]
    TimedOut(Duration),
    /// The operating system gave no thread.
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
