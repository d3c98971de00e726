//! Records received by OTLP. Spans arrive whole, and the order of records means nothing.

use std::sync::Arc;

use telemetry_core::{LogRecord, MetricPoint, Signal, Span, SpanEvent, SpanState, SpanStatus};

use super::state::{Assembler, add_dropped};

impl Assembler {
    /// Emits the events of a whole span, then the span.
    pub(super) fn otlp_span(&mut self, mut span: Span, out: &mut Vec<Signal>) {
        let key = span.key();
        if self.finished.contains(key) {
            self.counts.duplicate_span += 1;
            self.counts.refused += 1;
            return;
        }
        let is_whole = span.state == SpanState::Ended;
        if span.status != Some(SpanStatus::Error) && !self.config.sampling.keeps(key.trace_id) {
            if is_whole {
                self.remove_open(key);
                self.remember_finished(key, span.arrived);
            }
            self.refuse_sampled_out(&span);
            return;
        }
        self.cut_values(&mut span.attributes);
        self.cut_attributes(&mut span);
        for event in &span.events {
            match event {
                SpanEvent::Log(log) => self.emit(Signal::Log(Arc::clone(log)), out),
                SpanEvent::Metric(point) => self.emit(Signal::Metric(Arc::clone(point)), out),
            }
        }
        let unlisted = span.events.len().saturating_sub(self.config.max_events_per_span);
        span.events.truncate(self.config.max_events_per_span);
        add_dropped(&mut span.dropped_events_count, unlisted);
        self.counts.dropped_events += unlisted as u64;
        if is_whole {
            // An event may have started the same span here.
            self.remove_open(key);
            self.waiting.remove(key);
            self.remember_finished(key, span.arrived);
        }
        self.emit(Signal::SpanEnded(Arc::new(span)), out);
    }

    pub(super) fn otlp_log(&mut self, mut log: LogRecord, out: &mut Vec<Signal>) {
        self.cut_values(&mut log.attributes);
        self.emit(Signal::Log(Arc::new(log)), out);
    }

    pub(super) fn otlp_metric(&mut self, mut point: MetricPoint, out: &mut Vec<Signal>) {
        self.cut_values(&mut point.attributes);
        self.emit(Signal::Metric(Arc::new(point)), out);
    }
}
