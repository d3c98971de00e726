//! Splits a batch into requests and sums up their outcomes.

use std::collections::VecDeque;
use std::ops::Range;

use telemetry_core::{SinkError, Written};

use crate::response::Outcome;

/// The largest allowed request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) signals: usize,
    pub(crate) bytes: usize,
}

/// Counts rejected signals that are not yet reported to the worker.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rejections {
    count: u64,
    reason: Option<String>,
}

impl Rejections {
    /// Adds `count` rejected signals.
    pub(crate) fn add(&mut self, count: u64, reason: impl FnOnce() -> String) {
        if count > 0 {
            self.count += count;
            self.reason = Some(reason());
        }
    }

    /// Takes out the rejections to report with a batch of `len` signals. The worker can't count more than
    /// `len` for it, so the others are left for the next batch.
    pub(crate) fn report(&mut self, len: usize) -> Written {
        let reported = self.count.min(len as u64);
        if reported == 0 {
            return Written::ALL;
        }
        self.count -= reported;
        let reason = if self.count == 0 { self.reason.take() } else { self.reason.clone() };
        Written { rejected: reported, reason }
    }

    fn append(&mut self, other: Self) {
        let Self { count, reason } = other;
        self.count += count;
        self.reason = reason.or(self.reason.take());
    }
}

/// The requests of one batch, in order. A request is a range of the batch's signals.
#[derive(Debug)]
pub(crate) struct RequestPlan {
    waiting: VecDeque<Range<usize>>,
    settled: usize,
    any_accepted: bool,
    rejections: Rejections,
    latest_error: Option<SinkError>,
}

impl RequestPlan {
    /// Splits signals, each of which is given by its service and estimated bytes.
    ///
    /// A request contains neighbours of one service. The settled signals are therefore always the first
    /// ones of the batch, and a retry starts after them.
    pub(crate) fn new<S: PartialEq>(signals: impl IntoIterator<Item = (S, usize)>, limits: Limits) -> Self {
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
        Self {
            waiting,
            settled: 0,
            any_accepted: false,
            rejections: Rejections::default(),
            latest_error: None,
        }
    }

    /// Takes the next request.
    pub(crate) fn next(&mut self) -> Option<Range<usize>> {
        self.waiting.pop_front()
    }

    /// Records the outcome of the request `range`.
    ///
    /// # Errors
    ///
    /// The worker's error if the rest of the batch must be retried later. It contains the number of settled
    /// signals.
    pub(crate) fn settle(&mut self, range: Range<usize>, outcome: Outcome) -> Result<(), SinkError> {
        match outcome {
            Outcome::Accepted { rejected, message } => {
                self.settled = range.end;
                self.any_accepted = true;
                self.rejections.add(rejected.min(range.len() as u64), || partial_success_reason(&message));
            }
            Outcome::TooLarge(_) if range.len() > 1 => {
                let middle = range.start + range.len() / 2;
                self.waiting.push_front(middle..range.end);
                self.waiting.push_front(range.start..middle);
            }
            Outcome::TooLarge(error) | Outcome::Rejected(error) => {
                self.settled = range.end;
                self.rejections.add(range.len() as u64, || error.full_text());
                self.latest_error = Some(error);
            }
            Outcome::RetryLater(error) => return Err(error.stored(self.settled)),
        }
        Ok(())
    }

    /// Moves the rejections so far to those that the sink reports later.
    pub(crate) fn move_rejections_to(&mut self, unreported: &mut Rejections) {
        unreported.append(std::mem::take(&mut self.rejections));
    }

    /// Returns the result for the batch of `len` signals once all requests are settled.
    pub(crate) fn finish(mut self, len: usize, unreported: &mut Rejections) -> Result<Written, SinkError> {
        match self.latest_error.take() {
            // Nothing was accepted. The worker logs and counts the error itself.
            Some(error) if !self.any_accepted => Err(error),
            Some(_) | None => {
                self.move_rejections_to(unreported);
                Ok(unreported.report(len))
            }
        }
    }
}

/// Returns the reason to report for a partial success.
pub(crate) fn partial_success_reason(message: &str) -> String {
    if message.is_empty() {
        "partly rejected by the collector".to_owned()
    } else {
        format!("partly rejected by the collector: {message}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { signals: 3, bytes: 100 };

    fn accepted(rejected: u64) -> Outcome {
        Outcome::Accepted { rejected, message: "why".to_owned() }
    }

    #[test]
    fn requests_are_bounded_by_count_bytes_and_service() {
        let signals = [("a", 1), ("a", 1), ("a", 1), ("a", 60), ("a", 60), ("b", 1), ("b", 500), ("a", 1)];
        let plan = RequestPlan::new(signals, LIMITS);
        assert_eq!(plan.waiting, [0..3, 3..4, 4..5, 5..6, 6..7, 7..8]);
    }

    #[test]
    fn a_request_too_large_is_halved_until_it_fits() {
        let mut plan = RequestPlan::new([("a", 1); 3], LIMITS);
        let range = plan.next().unwrap();
        plan.settle(range, Outcome::TooLarge(SinkError::reject("too large"))).unwrap();
        assert_eq!(plan.waiting, [0..1, 1..3]);
        let range = plan.next().unwrap();
        plan.settle(range, Outcome::TooLarge(SinkError::reject("too large"))).unwrap();
        let range = plan.next().unwrap();
        plan.settle(range, accepted(0)).unwrap();
        let written = plan.finish(3, &mut Rejections::default()).unwrap();
        assert_eq!(written, Written::partly(1, "too large"));
    }

    #[test]
    fn a_retry_starts_after_the_settled_requests() {
        let mut plan = RequestPlan::new([("a", 1); 6], LIMITS);
        let range = plan.next().unwrap();
        plan.settle(range, accepted(1)).unwrap();
        let range = plan.next().unwrap();
        let error = plan.settle(range, Outcome::RetryLater(SinkError::retry("down"))).unwrap_err();
        assert_eq!(error.stored_signals(), 3);
        let mut unreported = Rejections::default();
        plan.move_rejections_to(&mut unreported);
        assert_eq!(unreported.report(3), Written::partly(1, "partly rejected by the collector: why"));
        assert_eq!(unreported.report(3), Written::ALL);
    }

    #[test]
    fn a_batch_that_is_rejected_as_a_whole_is_an_error() {
        let mut plan = RequestPlan::new([("a", 1); 2], LIMITS);
        let range = plan.next().unwrap();
        plan.settle(range, Outcome::Rejected(SinkError::reject("bad"))).unwrap();
        assert_eq!(plan.finish(2, &mut Rejections::default()).unwrap_err().to_string(), "bad");
    }
}
