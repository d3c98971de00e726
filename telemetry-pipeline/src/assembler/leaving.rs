//! What leaves before it is whole, because of its age or a limit.

use std::sync::Arc;

use telemetry_core::{Signal, Span, SpanState, Timestamp, WaitingEnd};

use super::{Assembler, remember};

impl Assembler {
    /// Lets time pass: what has been open or waiting for too long is delivered as it is.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Signal>) {
        let too_old = |arrived: Timestamp, age| now.since(arrived) > age;
        while self.open.oldest().is_some_and(|arrived| too_old(arrived, self.config.max_open_age)) {
            self.evict_open(out);
        }
        while self.waiting.oldest().is_some_and(|arrived| too_old(arrived, self.config.max_waiting_age)) {
            self.give_up_waiting(out);
        }
    }

    pub(super) fn wait_for_start(&mut self, end: WaitingEnd, out: &mut Vec<Signal>) {
        let (key, arrived) = (end.key, end.arrived);
        self.waiting.insert(key, end, arrived);
        while self.waiting.len() > self.config.max_waiting_ends {
            self.give_up_waiting(out);
        }
    }

    pub(super) fn evict_open(&mut self, out: &mut Vec<Signal>) {
        let Some((key, open)) = self.open.pop_oldest() else { return };
        self.open_bytes -= open.bytes;
        self.aliases.remove(&open.span);
        self.counts.evicted += 1;
        let arrived = open.span.arrived;
        remember(&mut self.evicted, key, arrived, self.config.remembered_spans);
        if !open.sampled {
            self.leave_out(&open.span);
            return;
        }
        let span = Span { state: SpanState::Unfinished, ..open.span };
        self.emit(Signal::SpanEnded(Arc::new(span)), out);
    }

    fn give_up_waiting(&mut self, out: &mut Vec<Signal>) {
        let Some((key, end)) = self.waiting.pop_oldest() else { return };
        if self.is_left_out(&end) {
            self.counts.sampled_out_spans += 1;
            return;
        }
        self.counts.unknown_start += 1;
        let span = Span {
            end_time: Some(end.end_time),
            status: Some(end.status),
            attributes: end.attributes,
            state: SpanState::Unfinished,
            arrived: end.arrived,
            ttl: end.ttl,
            ..Span::open(key, "", end.end_time)
        };
        self.emit(Signal::SpanEnded(Arc::new(span)), out);
    }
}
