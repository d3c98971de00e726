//! The contract between the pipeline and a sink.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Batch, Text};

/// Takes signals and delivers them somewhere.
///
/// # Contract
///
/// What a sink promises, and what it may rely on. The testkit has a case for every clause.
///
/// - **C1 lifecycle.** `write` and `flush` are called one at a time, by one owner; after `shutdown`
///   nothing is called any more.
/// - **C2 order.** Signals are delivered in the order of the batches and within each batch.
/// - **C3 once.** A batch answered `Ok` is not offered again; every signal of it is delivered exactly
///   once: a log or metric that `SpanEnded` lists again is not delivered twice.
/// - **C4 fidelity.** What is delivered is what was given: all attribute types, unicode and control
///   characters, values of 1 MB, the extremes of ids and times. A sink whose medium can't carry
///   something says so in [`Written::rejected`] or documents the form it takes.
/// - **C5 empty.** An empty batch is delivered by doing nothing.
/// - **C6 flush.** When `flush` returns `Ok`, everything written before is as durable as the sink can make it.
/// - **C7 shutdown.** `shutdown` flushes, then releases what the sink holds.
/// - **C8 cancel.** The future of `write` may be dropped at any await; the sink is usable afterwards,
///   and the same batch may come again.
/// - **C9 retry.** The same [`crate::BatchId`] may be offered again after an error; a signal that was
///   stored by the first try is not stored twice. A sink that can't know answers with
///   [`SinkError::stored`] what it has.
/// - **C10 independence.** Two instances with different options don't disturb one another.
/// - **C11 outage.** An error that may pass is [`Action::Retry`], one that can't is [`Action::Reject`]
///   (this batch is lost) or [`Action::Close`] (the sink is).
/// - **C12 recovery.** When the cause is gone, writes succeed again without a restart.
/// - **C13 interest.** Only signals of the interest given at build arrive; others must not be assumed.
/// - **C14 options.** An unknown or malformed option fails the build with an error that names it.
/// - **C15 secrets.** Nothing secret appears in `Debug` output, errors or logs.
#[async_trait]
pub trait Sink: Send + 'static {
    /// Delivers a batch.
    ///
    /// # Errors
    ///
    /// A [`SinkError`] whose [`Action`] tells the worker what to do with the batch.
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError>;

    /// Makes every earlier batch durable. By default nothing is buffered, so there is nothing to do.
    ///
    /// # Errors
    ///
    /// As [`Sink::write`].
    async fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Flushes and closes. By value: nothing can be written afterwards.
    ///
    /// # Errors
    ///
    /// As [`Sink::write`]; signals that were answered as delivered and are lost with the sink are
    /// [taken back](SinkError::taking_back).
    async fn shutdown(self: Box<Self>) -> Result<(), SinkError>;
}

/// What became of a batch that was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Signals the destination took note of but refused for good (partial success); the rest is delivered.
    pub rejected: u64,
    /// The destination's own words for the refusal.
    pub reason: Option<String>,
}

impl Written {
    /// Every signal is delivered.
    pub const ALL: Self = Self { rejected: 0, reason: None };

    /// All but `rejected` signals are delivered, and why.
    pub fn partly(rejected: u64, reason: impl Into<String>) -> Self {
        Self { rejected, reason: Some(reason.into()) }
    }
}

/// What the worker does about an error. It decides on nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Offer the same batch again, after this time if the destination named one.
    Retry {
        /// The destination's wish, e.g. `Retry-After`.
        after: Option<Duration>,
    },
    /// Give up this batch, count it, go on with the next.
    Reject,
    /// Give up the sink.
    Close,
}

/// Why a sink could not do as asked.
///
/// `Display` says what this layer was doing; [`Error::source`] says what went wrong beneath.
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
    taken_back: u64,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SinkError {
    fn new(action: Action, message: impl Into<Text>) -> Self {
        Self(Box::new(Inner {
            action,
            message: message.into(),
            stored: 0,
            taken_back: 0,
            context: Vec::new(),
            source: None,
        }))
    }

    /// An error that may pass: the batch is offered again.
    pub fn retry(message: impl Into<Text>) -> Self {
        Self::new(Action::Retry { after: None }, message)
    }

    /// An error that won't pass for this batch: it is counted as failed.
    pub fn reject(message: impl Into<Text>) -> Self {
        Self::new(Action::Reject, message)
    }

    /// An error that ends the sink.
    pub fn close(message: impl Into<Text>) -> Self {
        Self::new(Action::Close, message)
    }

    /// When to try again, in the destination's words.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        if let Action::Retry { after } = &mut self.0.action {
            *after = Some(wait);
        }
        self
    }

    /// How many signals of the batch, counted from its first, are stored all the same; a retry leaves them out.
    #[must_use]
    pub fn stored(mut self, signals: usize) -> Self {
        self.0.stored = signals;
        self
    }

    /// How many signals of earlier batches, answered as delivered, are lost after all: a sink that
    /// gathers them could not pass them on before it had to end. They are counted as failed.
    ///
    /// ```
    /// use telemetry_core::SinkError;
    /// assert_eq!(SinkError::retry("the last export failed").taking_back(7).taken_back(), 7);
    /// ```
    #[must_use]
    pub fn taking_back(mut self, signals: u64) -> Self {
        self.0.taken_back = signals;
        self
    }

    /// Adds a fact: a path, an endpoint, a status. Never a secret.
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

    /// What the worker should do.
    pub fn action(&self) -> Action {
        self.0.action
    }

    /// How many leading signals of the batch are stored.
    pub fn stored_signals(&self) -> usize {
        self.0.stored
    }

    /// How many signals of earlier batches are lost after all.
    pub fn taken_back(&self) -> u64 {
        self.0.taken_back
    }

    /// The message with all its causes, on one line, for a log.
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
