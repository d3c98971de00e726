//! Compares a store with the model.

use std::collections::HashSet;
use std::sync::Arc;

use telemetry_core::{BuiltSink, Signal, Span, SpanKey, SpanState, TraceStore};

use super::question::Question;
use crate::{Driver, MemoryStore, SERVICE_NAME};

/// A store and the model, which receive the same signals.
#[derive(Debug)]
pub struct StoreAndModel {
    driver: Driver,
    model: MemoryStore,
}

impl StoreAndModel {
    /// Combines a built sink with an empty model. The sink must be built for the service [`SERVICE_NAME`], as a
    /// [`Harness`](crate::Harness) does.
    pub fn new(built: BuiltSink) -> Self {
        Self { driver: Driver::new(built), model: MemoryStore::new(SERVICE_NAME) }
    }

    /// Writes a batch to both, in the form that a pipeline gives it:
    ///
    /// - Where a start meets an end that came earlier, the whole span follows at once.
    /// - After a span has ended, the batch contains nothing more of it.
    ///
    /// # Panics
    ///
    /// If the sink fails.
    pub async fn write(&mut self, signals: Vec<Signal>) {
        let mut batch = Vec::with_capacity(signals.len());
        let mut ended = HashSet::new();
        for signal in signals {
            let key = span_key(&signal);
            if key.is_some_and(|key| ended.contains(&key)) {
                continue;
            }
            self.model.store(std::slice::from_ref(&signal));
            let is_start = matches!(signal, Signal::SpanStarted(_));
            batch.push(signal);
            let Some(whole) = self.ended_span(key).await else { continue };
            ended.insert(whole.key());
            if is_start {
                batch.push(Signal::SpanEnded(Arc::new(whole)));
            }
        }
        if let Err(error) = self.driver.write(batch).await {
            panic!("the sink fails: {}", error.full_text());
        }
    }

    /// Returns the span of the model if it has ended.
    async fn ended_span(&self, key: Option<SpanKey>) -> Option<Span> {
        let span = self.model.get_span(key?).await.expect("the model always answers")?;
        (span.state == SpanState::Ended).then(|| Span { events: Vec::new(), ..span })
    }

    /// Asks both the same question.
    ///
    /// # Panics
    ///
    /// If the answers differ, or one of the stores fails.
    pub async fn assert_same_answers(&self, question: &Question) {
        match (question.ask(&*self.store()).await, question.ask(&self.model).await) {
            (Ok(answer), Ok(expected)) => assert_eq!(answer, expected, "(left: the store) {question:?}"),
            (Err(error), _) => panic!("the store fails to answer {question:?}: {error}"),
            (Ok(_), Err(error)) => panic!("the model fails to answer {question:?}: {error}"),
        }
    }

    /// Returns the store under test.
    ///
    /// # Panics
    ///
    /// If the sink has no store.
    pub fn store(&self) -> Arc<dyn TraceStore> {
        self.driver.store().expect("the store kit needs a sink with a store")
    }

    /// Shuts the sink down.
    ///
    /// # Panics
    ///
    /// If the sink fails.
    pub async fn shutdown(self) {
        if let Err(error) = self.driver.shutdown().await {
            panic!("the sink fails to shut down: {}", error.full_text());
        }
    }
}

/// Returns the key of the span that starts or ends with this signal.
fn span_key(signal: &Signal) -> Option<SpanKey> {
    match signal {
        Signal::SpanStarted(span) | Signal::SpanEnded(span) => Some(span.key()),
        Signal::EndWaiting(end) => Some(end.key),
        _ => None,
    }
}
