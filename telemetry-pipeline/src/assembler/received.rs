//! What comes by OTLP: spans enter whole, and order means nothing.

use std::sync::Arc;

use telemetry_core::{LogRecord, MetricPoint, Signal, Span, SpanEvent, SpanState, SpanStatus};

use super::Assembler;

impl Assembler {
    /// A span that comes whole: its events first, each once, then the span.
    pub(super) fn received_span(&mut self, mut span: Span, out: &mut Vec<Signal>) {
        let key = span.key();
        if self.finished.contains(key) {
            self.counts.duplicate_span += 1;
            self.counts.refused += 1;
            return;
        }
        let is_whole = span.state == SpanState::Ended;
        if span.status != Some(SpanStatus::Error) && !self.config.sampling.keeps(key.trace_id) {
            if is_whole {
                self.take_open(key);
                self.remember_finished(key, span.arrived);
            }
            self.refuse_span(&span);
            return;
        }
        self.cut(&mut span.attributes);
        self.cut_span(&mut span);
        for event in &span.events {
            match event {
                SpanEvent::Log(log) => self.emit(Signal::Log(Arc::clone(log)), out),
                SpanEvent::Metric(point) => self.emit(Signal::Metric(Arc::clone(point)), out),
            }
        }
        let unlisted = span.events.len().saturating_sub(self.config.max_events_per_span);
        span.events.truncate(self.config.max_events_per_span);
        add(&mut span.dropped_events_count, unlisted);
        self.counts.dropped_events += unlisted as u64;
        if is_whole {
            // The same span may have started here by an event.
            self.take_open(key);
            self.waiting.remove(key);
            self.remember_finished(key, span.arrived);
        }
        self.emit(Signal::SpanEnded(Arc::new(span)), out);
    }

    pub(super) fn received_log(&mut self, mut log: LogRecord, out: &mut Vec<Signal>) {
        self.cut(&mut log.attributes);
        self.emit(Signal::Log(Arc::new(log)), out);
    }

    pub(super) fn received_point(&mut self, mut point: MetricPoint, out: &mut Vec<Signal>) {
        self.cut(&mut point.attributes);
        self.emit(Signal::Metric(Arc::new(point)), out);
    }

    /// Forgets spans that a store has not kept, and ends: whoever sends them again must not be told that
    /// they are known.
    pub(crate) fn forget<'a>(&mut self, signals: impl IntoIterator<Item = &'a Signal>) {
        for signal in signals {
            match signal {
                Signal::SpanEnded(span) => drop(self.finished.remove(span.key())),
                Signal::EndWaiting(end) => {
                    self.finished.remove(end.key);
                    self.waiting.remove(end.key);
                }
                // What is sent again becomes a signal again.
                _ => {}
            }
        }
    }
}

/// Adds to a count of what was dropped, which a sender may have filled to the brim.
pub(super) fn add(count: &mut u32, more: usize) {
    *count = count.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
}
