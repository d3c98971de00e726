//! Chunks and batches: how signals travel to sinks without being copied.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Signal, SignalSet, Written};

/// One run of the program, so that a store can tell a batch of this run from one of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunId(pub u64);

/// Names a batch: the same for every try of it, different for every other batch of the sink.
///
/// A store commits it with the data; a batch it finds committed already is answered as delivered
/// and not stored again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BatchId {
    /// The run of the program.
    pub run: RunId,
    /// Grows by one per batch within the run and sink, from 1.
    pub number: u64,
}

/// Up to a few hundred signals, shared by all sinks.
#[derive(Debug, Default)]
pub struct Chunk {
    signals: Vec<Signal>,
    per_kind: [u32; SignalSet::KINDS],
}

impl Chunk {
    /// A chunk of `signals`, in order.
    pub fn new(signals: Vec<Signal>) -> Self {
        let mut per_kind = [0; SignalSet::KINDS];
        for signal in &signals {
            per_kind[signal.kind().index()] += 1;
        }
        Self { signals, per_kind }
    }

    /// All signals, in order.
    pub fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// How many signals a sink with this interest sees.
    pub fn count(&self, interest: SignalSet) -> usize {
        if interest == SignalSet::ALL {
            return self.signals.len();
        }
        let kinds = self.per_kind.iter().enumerate();
        kinds.filter(|(kind, _)| interest.bits() & (1 << kind) != 0).map(|(_, &count)| count as usize).sum()
    }
}

/// What a sink is given at once: a view of chunks, filtered by the sink's interest, in order.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    id: BatchId,
    chunks: &'a [Arc<Chunk>],
    interest: SignalSet,
    skip: usize,
    len: usize,
}

impl<'a> Batch<'a> {
    /// The signals of `chunks` that are in `interest`, without the first `skip` of them (which an
    /// earlier try has stored).
    pub fn new(id: BatchId, chunks: &'a [Arc<Chunk>], interest: SignalSet, skip: usize) -> Self {
        let total: usize = chunks.iter().map(|chunk| chunk.count(interest)).sum();
        Self { id, chunks, interest, skip, len: total.saturating_sub(skip) }
    }

    /// The batch's name: the same for every try of it.
    pub const fn id(&self) -> BatchId {
        self.id
    }

    /// The number of signals.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no signals. An empty batch is delivered by doing nothing.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The signals, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a Signal> + use<'a> {
        let interest = self.interest;
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.signals())
            .filter(move |signal| interest.contains(signal.kind()))
            .skip(self.skip)
    }

    /// The usual answer of [`crate::Sink::write`]: every signal is delivered.
    pub const fn delivered(&self) -> Written {
        Written::ALL
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
    fn a_batch_is_the_interesting_part_of_its_chunks() {
        let chunks = [Arc::new(Chunk::new(vec![log("a"), log("b")])), Arc::new(Chunk::new(vec![log("c")]))];
        let id = BatchId { run: RunId(1), number: 1 };
        let batch = Batch::new(id, &chunks, SignalSet::LOG, 1);
        assert_eq!(batch.len(), 2);
        assert_eq!(batch.iter().count(), 2);
        assert!(Batch::new(id, &chunks, SignalSet::METRIC, 0).is_empty());
    }
}
