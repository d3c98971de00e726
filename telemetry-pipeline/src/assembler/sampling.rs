//! Which traces are kept, decided by the trace id alone.

use std::sync::Arc;

use telemetry_core::{Signal, Span, SpanEvent, SpanStatus, TraceId, WaitingEnd};

use super::Assembler;

/// The share of traces that is kept.
///
/// The trace id decides, by the rule of OpenTelemetry's `TraceIdRatioBased` samplers: its low 64 bits,
/// without the last, are compared with the ratio. So all parts of a distributed trace agree, whichever
/// of the two they use, and a part that keeps more keeps all that the others do.
///
/// ```
/// use telemetry_core::TraceId;
/// use telemetry_pipeline::assembler::Sampling;
///
/// let half = Sampling::ratio(0.5)?;
/// assert!(half.keeps(TraceId::from_u128(1).unwrap()));
/// assert!(!half.keeps(TraceId::from_u128(u128::MAX).unwrap()));
/// # Ok::<(), telemetry_pipeline::assembler::SamplingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Ids whose 63 bits are below are kept.
    bound: u64,
}

/// A number that is no share.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is no share: give a number from 0 (failed spans alone) to 1 (all)")]
pub struct SamplingError(pub f64);

/// What became of an event of a span.
pub(super) enum Listed {
    /// Its span is not open.
    Unknown,
    /// It goes on as its span does.
    Live,
    /// It waits for its span's end.
    Held,
    /// Its span is not sampled and holds no more.
    Cut,
}

impl Sampling {
    /// Keeps every trace; the default.
    pub const ALL: Self = Self { bound: 1 << 63 };

    /// Keeps this share of all traces, from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`SamplingError`] for every other number.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the ratio is from 0 to 1, and 2^63 is a double"
    )]
    pub fn ratio(ratio: f64) -> Result<Self, SamplingError> {
        if (0.0..=1.0).contains(&ratio) {
            Ok(Self { bound: (ratio * Self::ALL.bound as f64) as u64 })
        } else {
            Err(SamplingError(ratio))
        }
    }

    /// Whether spans of this trace are kept, however they end.
    #[expect(clippy::cast_possible_truncation, reason = "the low 64 bits decide")]
    pub const fn keeps(self, trace: TraceId) -> bool {
        (trace.as_u128() as u64) >> 1 < self.bound
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self::ALL
    }
}

impl Assembler {
    /// Whether an end alone says that its span is left out.
    pub(super) fn is_left_out(&self, end: &WaitingEnd) -> bool {
        end.status != SpanStatus::Error && !self.config.sampling.keeps(end.key.trace_id)
    }

    /// Counts a span that sampling leaves out, and its logs that waited.
    pub(super) fn leave_out(&mut self, span: &Span) {
        self.counts.sampled_out_spans += 1;
        let logs = span.events.iter().filter(|event| matches!(event, SpanEvent::Log(_)));
        self.counts.sampled_out_logs += logs.count() as u64;
    }

    /// Leaves a span out, with the input that completed it.
    pub(super) fn refuse_span(&mut self, span: &Span) {
        self.leave_out(span);
        self.counts.sampled_out += 1;
        self.counts.refused += 1;
    }

    /// Leaves a log out that its span can't hold.
    pub(super) fn refuse_log(&mut self) {
        self.counts.sampled_out_logs += 1;
        self.counts.sampled_out += 1;
        self.counts.refused += 1;
    }

    /// Delivers the logs that waited with a span that failed after all.
    pub(super) fn release_logs(&self, span: &Span, out: &mut Vec<Signal>) {
        for event in &span.events {
            if let SpanEvent::Log(log) = event {
                self.emit(Signal::Log(Arc::clone(log)), out);
            }
        }
    }
}
