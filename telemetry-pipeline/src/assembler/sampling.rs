//! Which traces are kept, decided by the trace id alone.

use telemetry_core::TraceId;

/// The share of traces that is kept.
///
/// The trace id decides, by the rule of OpenTelemetry's `TraceIdRatioBased` samplers: 63 of its low 64 bits,
/// all but the last, are compared with the ratio. So all parts of a distributed trace agree, also if some of
/// them use OpenTelemetry's samplers. A part with a larger ratio keeps all traces that the others keep.
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

/// The error for a ratio that is not from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("invalid ratio `{0}`: expected a number from 0 (only failed spans) to 1 (all)")]
pub struct SamplingError(pub f64);

impl Sampling {
    /// Keeps every trace. This is the default.
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

    /// Returns true if all spans of this trace are kept. Of the other traces, only failed spans are.
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
