//! A batch as requests: how it is split, and what the answers add up to.

use std::collections::VecDeque;
use std::ops::Range;

use telemetry_core::{SinkError, Written};

use crate::error::Verdict;

/// What a request may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) signals: usize,
    pub(crate) bytes: usize,
}

/// What the collector refused, not yet told to the worker.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    count: u64,
    reason: Option<String>,
}

impl Refusals {
    /// Adds `count` refused signals.
    pub(crate) fn add(&mut self, count: u64, reason: impl FnOnce() -> String) {
        if count > 0 {
            self.count += count;
            self.reason = Some(reason());
        }
    }

    /// Tells the worker, at most `batch` at once: it counts within a batch. The rest is told next time.
    pub(crate) fn tell(&mut self, batch: usize) -> Written {
        let told = self.count.min(batch as u64);
        if told == 0 {
            return Written::ALL;
        }
        self.count -= told;
        let reason = if self.count == 0 { self.reason.take() } else { self.reason.clone() };
        Written { rejected: told, reason }
    }

    fn append(&mut self, other: Self) {
        let Self { count, reason } = other;
        self.count += count;
        self.reason = reason.or(self.reason.take());
    }
}

/// The requests of one batch, in order. A request is a range of the batch's signals.
#[derive(Debug)]
pub(crate) struct Requests {
    waiting: VecDeque<Range<usize>>,
    done: usize,
    accepted: bool,
    refusals: Refusals,
    refusal: Option<SinkError>,
}

impl Requests {
    /// Splits signals, given as service and estimated bytes. A request holds neighbours of one service:
    /// so the settled signals are always the first ones, and a retry starts where this try ended.
    pub(crate) fn plan<S: PartialEq>(signals: impl IntoIterator<Item = (S, usize)>, limits: Limits) -> Self {
        let mut waiting = VecDeque::new();
        let mut current: Option<(S, Range<usize>, usize)> = None;
        for (at, (service, size)) in signals.into_iter().enumerate() {
            current = match current.take() {
                Some((same, range, bytes))
                    if same == service && range.len() < limits.signals && bytes + size <= limits.bytes =>
                {
                    Some((same, range.start..at + 1, bytes + size))
                }
                finished => {
                    waiting.extend(finished.map(|(_, range, _)| range));
                    Some((service, at..at + 1, size))
                }
            };
        }
        waiting.extend(current.map(|(_, range, _)| range));
        Self { waiting, done: 0, accepted: false, refusals: Refusals::default(), refusal: None }
    }

    /// The next request.
    pub(crate) fn next(&mut self) -> Option<Range<usize>> {
        self.waiting.pop_front()
    }

    /// Takes note of what became of the request `range`.
    ///
    /// # Errors
    ///
    /// The error for the worker when the rest of the batch should wait; it says how much is settled.
    pub(crate) fn settle(&mut self, range: Range<usize>, verdict: Verdict) -> Result<(), SinkError> {
        match verdict {
            Verdict::Accepted { refused, message } => {
                self.done = range.end;
                self.accepted = true;
                self.refusals.add(refused.min(range.len() as u64), || partial_text(&message));
            }
            Verdict::TooLarge(_) if range.len() > 1 => {
                let middle = range.start + range.len() / 2;
                self.waiting.push_front(middle..range.end);
                self.waiting.push_front(range.start..middle);
            }
            Verdict::TooLarge(error) | Verdict::Refused(error) => {
                self.done = range.end;
                self.refusals.add(range.len() as u64, || error.full_text());
                self.refusal = Some(error);
            }
            Verdict::Later(error) => return Err(error.stored(self.done)),
        }
        Ok(())
    }

    /// Adds what was refused so far to what the sink still has to tell.
    pub(crate) fn hand_over(&mut self, untold: &mut Refusals) {
        untold.append(std::mem::take(&mut self.refusals));
    }

    /// The answer for the batch of `len` signals, all of whose requests are settled.
    pub(crate) fn finish(mut self, len: usize, untold: &mut Refusals) -> Result<Written, SinkError> {
        match self.refusal.take() {
            // Nothing at all was accepted: the worker logs and counts that itself.
            Some(error) if !self.accepted => Err(error),
            Some(_) | None => {
                self.hand_over(untold);
                Ok(untold.tell(len))
            }
        }
    }
}

/// The reason for a partial success.
pub(crate) fn partial_text(message: &str) -> String {
    if message.is_empty() {
        "partly refused by the collector".to_owned()
    } else {
        format!("partly refused by the collector: {message}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { signals: 3, bytes: 100 };

    fn accepted(refused: u64) -> Verdict {
        Verdict::Accepted { refused, message: "why".to_owned() }
    }

    #[test]
    fn requests_are_bounded_by_count_bytes_and_service() {
        let signals = [("a", 1), ("a", 1), ("a", 1), ("a", 60), ("a", 60), ("b", 1), ("b", 500), ("a", 1)];
        let requests = Requests::plan(signals, LIMITS);
        assert_eq!(requests.waiting, [0..3, 3..4, 4..5, 5..6, 6..7, 7..8]);
    }

    #[test]
    fn a_request_too_large_is_halved_until_it_fits() {
        let mut requests = Requests::plan([("a", 1); 3], LIMITS);
        let range = requests.next().unwrap();
        requests.settle(range, Verdict::TooLarge(SinkError::reject("too large"))).unwrap();
        assert_eq!(requests.waiting, [0..1, 1..3]);
        let range = requests.next().unwrap();
        requests.settle(range, Verdict::TooLarge(SinkError::reject("too large"))).unwrap();
        let range = requests.next().unwrap();
        requests.settle(range, accepted(0)).unwrap();
        let written = requests.finish(3, &mut Refusals::default()).unwrap();
        assert_eq!(written, Written::partly(1, "too large"));
    }

    #[test]
    fn a_retry_starts_where_the_try_ended() {
        let mut requests = Requests::plan([("a", 1); 6], LIMITS);
        let range = requests.next().unwrap();
        requests.settle(range, accepted(1)).unwrap();
        let range = requests.next().unwrap();
        let error = requests.settle(range, Verdict::Later(SinkError::retry("down"))).unwrap_err();
        assert_eq!(error.stored_signals(), 3);
        let mut untold = Refusals::default();
        requests.hand_over(&mut untold);
        assert_eq!(untold.tell(3), Written::partly(1, "partly refused by the collector: why"));
        assert_eq!(untold.tell(3), Written::ALL);
    }

    #[test]
    fn a_batch_refused_whole_is_an_error() {
        let mut requests = Requests::plan([("a", 1); 2], LIMITS);
        let range = requests.next().unwrap();
        requests.settle(range, Verdict::Refused(SinkError::reject("bad"))).unwrap();
        assert_eq!(requests.finish(2, &mut Refusals::default()).unwrap_err().to_string(), "bad");
    }
}
