//! The contract between the pipeline and a sink.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Batch, Text, Written};

/// Delivers signals to a destination: a file, a database, a collector.
///
/// # Contract
///
/// What a sink promises, and what it can rely on. The testkit has a test for every clause.
///
/// - **C1 lifecycle.** The one owner of the sink calls `write` and `flush` one at a time. After
///   `shutdown` it calls nothing.
/// - **C2 order.** Signals are delivered in the order of the batches and within each batch.
/// - **C3 once.** A batch that returned `Ok` does not come again, and each of its signals is delivered
///   exactly once. A log or metric point that `SpanEnded` lists again is not delivered twice.
/// - **C4 fidelity.** Signals are delivered unchanged: all attribute types, unicode and control
///   characters, values of 1 MB, the extremes of ids and times. A sink whose destination cannot take
///   something counts it in [`Written::rejected`], or documents what it writes instead.
/// - **C5 empty.** Writing an empty batch does nothing and succeeds.
/// - **C6 flush.** When `flush` returns `Ok`, everything written before is as durable as the sink can make it.
/// - **C7 shutdown.** `shutdown` flushes, then releases all resources.
/// - **C8 cancel.** The future of `write` may be dropped at any await. Afterwards the sink still works,
///   and the same batch may come again.
/// - **C9 retry.** After an error the same [`crate::BatchId`] may come again. A signal stored by the first
///   try is not stored twice. A sink that cannot recognise signals reports in [`SinkError::stored`] how
///   many it has stored.
/// - **C10 independence.** Two instances with different options do not affect each other.
/// - **C11 outage.** A temporary error is [`Action::Retry`]. A permanent error is [`Action::Reject`] (the
///   batch fails) or [`Action::Close`] (the sink fails).
/// - **C12 recovery.** When the cause is gone, writes succeed again without a restart.
/// - **C13 interest.** Only signals of the sink's interest arrive. The interest is fixed when the sink is built.
/// - **C14 options.** An unknown or malformed option fails the build with an error that names it.
/// - **C15 secrets.** No secret appears in `Debug` output, errors or logs.
#[async_trait]
pub trait Sink: Send + 'static {
    /// Delivers a batch.
    ///
    /// # Errors
    ///
    /// Returns a [`SinkError`] whose [`Action`] tells the worker what to do with the batch.
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError>;

    /// Makes every earlier batch durable. The default does nothing, for sinks that buffer nothing.
    ///
    /// # Errors
    ///
    /// Same as [`Sink::write`].
    async fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Flushes and closes the sink.
    ///
    /// # Errors
    ///
    /// Same as [`Sink::write`]. If signals of earlier, successful batches are lost, the error
    /// [revokes](SinkError::revoked) them.
    async fn shutdown(self: Box<Self>) -> Result<(), SinkError>;
}

/// What the worker does after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write the same batch again.
    Retry {
        /// How long to wait first, if the destination named a time (`Retry-After`).
        after: Option<Duration>,
    },
    /// Count this batch as failed and continue with the next.
    Reject,
    /// Close the sink.
    Close,
}

/// A failed operation of a sink.
///
/// `Display` describes what the sink was doing. [`Error::source`] is the cause.
///
/// ```
/// use telemetry_core::{Action, SinkError};
///
/// let error = SinkError::retry("can't reach the collector").with("endpoint", "http://localhost:4318");
/// assert_eq!(error.to_string(), "can't reach the collector (endpoint: http://localhost:4318)");
/// assert_eq!(error.action(), Action::Retry { after: None });
/// ```
#[derive(Debug)]
pub struct SinkError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    action: Action,
    message: Text,
    stored: usize,
    revoked: u64,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SinkError {
    fn new(action: Action, message: impl Into<Text>) -> Self {
        Self(Box::new(Inner {
            action,
            message: message.into(),
            stored: 0,
            revoked: 0,
            context: Vec::new(),
            source: None,
        }))
    }

    /// Returns a temporary error: the worker writes the batch again.
    pub fn retry(message: impl Into<Text>) -> Self {
        Self::new(Action::Retry { after: None }, message)
    }

    /// Returns a permanent error for this batch: the worker counts it as failed.
    pub fn reject(message: impl Into<Text>) -> Self {
        Self::new(Action::Reject, message)
    }

    /// Returns an error that closes the sink.
    pub fn close(message: impl Into<Text>) -> Self {
        Self::new(Action::Close, message)
    }

    /// Sets how long the worker waits before it writes the batch again.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        if let Action::Retry { after } = &mut self.0.action {
            *after = Some(wait);
        }
        self
    }

    /// Sets how many signals of the batch, counted from its first, are stored in spite of the error. A
    /// retry leaves them out.
    #[must_use]
    pub fn stored(mut self, signals: usize) -> Self {
        self.0.stored = signals;
        self
    }

    /// Sets how many signals of earlier, successful batches are lost: a sink that aggregates could not
    /// export them before it had to close. The worker counts them as failed instead of delivered.
    ///
    /// ```
    /// use telemetry_core::SinkError;
    /// assert_eq!(SinkError::retry("the last export failed").revoked(7).revoked_signals(), 7);
    /// ```
    #[must_use]
    pub fn revoked(mut self, signals: u64) -> Self {
        self.0.revoked = signals;
        self
    }

    /// Adds context: a path, an endpoint, a status. Never a secret.
    #[must_use]
    pub fn with(mut self, what: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((what, value.to_string()));
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Returns what the worker must do.
    pub fn action(&self) -> Action {
        self.0.action
    }

    /// Returns how many signals of the batch, counted from its first, are stored.
    pub fn stored_signals(&self) -> usize {
        self.0.stored
    }

    /// Returns how many signals of earlier, successful batches are lost.
    pub fn revoked_signals(&self) -> u64 {
        self.0.revoked
    }

    /// Returns the message with all its causes on one line, for a log.
    pub fn full_text(&self) -> String {
        let mut text = self.to_string();
        let mut cause = Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for (at, (what, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{what}: {value}", if at == 0 { " (" } else { ", " })?;
        }
        if self.0.context.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl Error for SinkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
