//! Chunks and batches: how signals reach sinks without being copied.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Signal, SignalSet};

/// Identifies one run of the program. Batches of different runs can have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunId(pub u64);

/// Identifies a batch of a sink. Every try of the batch has the same id.
///
/// A store commits the id with the data. If it finds the id committed already, it stores nothing and
/// returns `Ok`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BatchId {
    /// The run of the program.
    pub run: RunId,
    /// Counts the batches of the run and sink, from 1.
    pub number: u64,
}

/// Up to a few hundred signals, shared by all sinks.
#[derive(Debug, Default)]
pub struct Chunk {
    signals: Vec<Signal>,
    per_kind: [u32; SignalSet::KINDS],
}

impl Chunk {
    /// Returns a chunk of `signals`, in order.
    pub fn new(signals: Vec<Signal>) -> Self {
        let mut per_kind = [0; SignalSet::KINDS];
        for signal in &signals {
            per_kind[signal.kind().index()] += 1;
        }
        Self { signals, per_kind }
    }

    /// Returns all signals, in order.
    pub fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// Returns the number of signals that a sink with this interest receives.
    pub fn count(&self, interest: SignalSet) -> usize {
        if interest == SignalSet::ALL {
            return self.signals.len();
        }
        let kinds = self.per_kind.iter().enumerate();
        kinds.filter(|(kind, _)| interest.bits() & (1 << kind) != 0).map(|(_, &count)| count as usize).sum()
    }
}

/// The signals that a sink writes at once: a view of chunks, filtered by the sink's interest, in order.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    id: BatchId,
    chunks: &'a [Arc<Chunk>],
    interest: SignalSet,
    skip: usize,
    len: usize,
}

impl<'a> Batch<'a> {
    /// Returns the signals of `chunks` that are in `interest`, without the first `skip`, which an
    /// earlier try has stored.
    pub fn new(id: BatchId, chunks: &'a [Arc<Chunk>], interest: SignalSet, skip: usize) -> Self {
        let total: usize = chunks.iter().map(|chunk| chunk.count(interest)).sum();
        Self { id, chunks, interest, skip, len: total.saturating_sub(skip) }
    }

    /// Returns the batch's id, which is the same for every try.
    pub const fn id(&self) -> BatchId {
        self.id
    }

    /// Returns the number of signals.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there are no signals. A sink delivers an empty batch by doing nothing.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Iterates over the signals, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a Signal> + use<'a> {
        let interest = self.interest;
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.signals())
            .filter(move |signal| interest.contains(signal.kind()))
            .skip(self.skip)
    }

    /// Returns the usual result of [`crate::Sink::write`]: every signal is delivered.
    pub const fn delivered(&self) -> Written {
        Written::ALL
    }
}

/// The result of writing a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The number of signals that the destination rejected (partial success). The others are delivered.
    pub rejected: u64,
    /// The reason, as the destination worded it.
    pub reason: Option<String>,
}

impl Written {
    /// Every signal is delivered.
    pub const ALL: Self = Self { rejected: 0, reason: None };

    /// Returns the result for a batch whose signals are delivered, except `rejected` of them.
    pub fn partly(rejected: u64, reason: impl Into<String>) -> Self {
        Self { rejected, reason: Some(reason.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventContext, LogBody, LogRecord, Severity, Timestamp, Ttl};

    fn log(message: &'static str) -> Signal {
        Signal::Log(Arc::new(LogRecord {
            context: EventContext::None,
            timestamp: Timestamp::from_nanos(0),
            body: LogBody::Message { severity: Severity::Info, message: message.into() },
            attributes: crate::Attributes::default(),
            service_name: None,
            arrived: Timestamp::from_nanos(0),
            ttl: Ttl::default(),
        }))
    }

    #[test]
    fn a_batch_has_the_signals_of_its_interest() {
        let chunks = [Arc::new(Chunk::new(vec![log("a"), log("b")])), Arc::new(Chunk::new(vec![log("c")]))];
        let id = BatchId { run: RunId(1), number: 1 };
        let batch = Batch::new(id, &chunks, SignalSet::LOG, 1);
        assert_eq!(batch.len(), 2);
        assert_eq!(batch.iter().count(), 2);
        assert!(Batch::new(id, &chunks, SignalSet::METRIC, 0).is_empty());
    }
}
